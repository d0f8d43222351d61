//! `balance` and `hash-type`.

use super::keyword::{Arguments, spanned_text};
use super::proxy::Draft;

/// `balance ALGORITHM [ARGUMENTS]`: `build` takes it apart.
pub(super) fn balance(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    match arguments.rest() {
        Some(algorithm) => draft.section.balance = Some(algorithm),
        None => {
            arguments.required("an algorithm");
        }
    }
}

/// `hash-type METHOD [FUNCTION [MODIFIER]]`
pub(super) fn hash_type(draft: &mut Draft, arguments: &mut Arguments<'_, '_>) {
    let Some(method) = arguments.required("map-based or consistent") else {
        return;
    };
    let rest = arguments.rest_words();
    if let (Some(first), Some(last)) = (rest.first(), rest.last()) {
        arguments.report.warn(
            first.span.start..last.span.end,
            "the function of a hash has no effect here",
            "which server a client hashes to differs from HAProxy anyway; it is the same on every host",
        );
    }
    draft.section.hash_type = Some(spanned_text(method));
}
