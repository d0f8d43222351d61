//! Values of forms and queries, as browsers encode them.

/// `application/x-www-form-urlencoded`, undone.
pub fn decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'+' => octets.push(b' '),
            b'%' => {
                let mut ahead = rest.clone();
                let digits = [ahead.next(), ahead.next()]
                    .map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
                if let [Some(high), Some(low)] = digits {
                    octets.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                    rest = ahead;
                } else {
                    octets.push(octet);
                }
            }
            _ => octets.push(octet),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_decoded_to_something() {
        assert_eq!(decoded("%zz%4%41+%"), "%zz%4A %");
        assert_eq!(decoded("%ff"), "\u{fffd}");
    }
}
