//! The same rules, requests and responses with HAProxy and with ours: what the server is asked, what the client is told,
//! and what the log says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use warren_kit::diagnostics::SourceFile;

use crate::config::{Machine, load_haproxy_text};
use crate::plan::{HostAddress, Plan};
use crate::session::tests::bench::{Bench, eventually, patient};

/// Lines of the frontend, lines of the backend, and messages: a request, and what the server says if it is asked.
struct Case {
    name: &'static str,
    front: &'static str,
    back: &'static str,
    messages: &'static [(&'static str, &'static str)],
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /a/b?x=1&y=2 HTTP/1.1\r\nHost: www.example.org\r\n\r\n";

const CASES: &[Case] = &[
    Case {
        name: "headers of requests are replaced",
        front: "http-request replace-header Cookie foo=([^;]*);(.*) foo=\\1;ip=%bi;\\2
                http-request replace-value X-List ^(.)at$ \\1og
                http-request replace-header X-None (.*) never
                http-request del-header X-Del- -m beg
                http-request del-header -end -m end
                http-request del-header mid -m sub
                http-request del-header ^x-[0-9]+$ -m reg
                http-request add-header X-Added \"%[req.hdr(x-list,1)] %[req.hdr(x-list,-2)] %[req.fhdr(x-list)]\"",
        back: "",
        messages: &[(
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: foo=1; bar=2\r\nX-List: cat, dog,rat\r\nX-Del-1: a\r\nx-del-2: b\r\nX-The-End: \
             c\r\nX-mid-x: d\r\nX-12: e\r\nX-1a: f\r\n\r\n",
            OK,
        )],
    },
    Case {
        name: "targets are replaced",
        front: "http-request replace-path /old/(.*) /new/\\1 if { path_beg /old }
                http-request replace-pathq /pq/([^?]*)(\\?(.*))? /\\1/pq?\\3 if { path_beg /pq }
                http-request replace-uri ^/u/(.*) /uri/\\1 if { path_beg /u/ }
                http-request set-path /set%[path] if { path_beg /sp }
                http-request set-pathq /spq?z=%[query] if { path /spq0 }
                http-request set-query a=b if { path /q }
                http-request set-uri /whole?%[method] if { path /w }
                http-request set-method PUT if { path /m }",
        back: "",
        messages: &[
            ("GET /old/x?y HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /pq/x?y HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /u/x?y HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /sp?y HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /spq0?y HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /q?y HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /w HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /m HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "responses are changed",
        front: "http-response set-status 418 reason \"I am a teapot\" if { status 201 }
                http-response set-status 503 if { status 202 }
                http-response replace-header Location http://in/(.*) https://out/\\1
                http-response replace-value X-List a(.) b\\1
                http-response del-header X-Del -m beg
                http-response set-header X-Path %[var(txn.path)]
                http-request set-var(txn.path) path,lower",
        back: "",
        messages: &[
            (GET, "HTTP/1.1 201 Created\r\nLocation: http://in/x\r\nContent-Length: 0\r\n\r\n"),
            (GET, "HTTP/1.1 202 Accepted\r\nX-List: a1 , c , a2 , d ,a3\r\nX-Delta: 1\r\nContent-Length: 0\r\n\r\n"),
        ],
    },
    Case {
        name: "variables are remembered",
        front: "http-request set-var(txn.host) req.hdr(host),field(1,:),lower
                http-request set-var(txn.none) req.hdr(x-none)
                http-request set-var-fmt(txn.both) \"%[method]-%[path]\"
                http-request set-var(req.flag) bool(true) if { path_beg /a }
                http-request set-var(txn.gone) str(x)
                http-request unset-var(txn.gone)
                http-request set-header X-Host %[var(txn.host)]
                http-request set-header X-Both %[var(txn.both)]
                http-request set-header X-None yes if { var(txn.none) -m found }
                http-request set-header X-Gone yes if { var(txn.gone) -m found }
                http-request set-header X-Flag yes if { var(req.flag) -m bool }
                http-request set-header X-Is yes if { var(txn.host) -m str www.example.org }
                http-request set-header X-Word %[path,word(2,/)]
                http-request set-header X-Sub %[url,regsub(\"[a-z]\",_,g)]
                http-request set-header X-Len %[path,length]",
        back: "",
        messages: &[
            ("GET /a/b?x=1 HTTP/1.1\r\nHost: WWW.Example.org:80\r\n\r\n", OK),
            ("GET /b HTTP/1.1\r\nHost: other\r\n\r\n", OK),
        ],
    },
    Case {
        name: "conditions compare as they say",
        front: "acl api path_beg /a
                acl long path_len gt 4
                acl short path -m len 1:2
                acl inside hdr_ip(x-real-ip) 10.0.0.0/8
                acl found req.hdr(x-real-ip) -m found
                acl sub path -m sub /b
                acl end path -m end b
                acl base base_beg www.example.org/a
                acl second req.hdr(x-list,2) -m str two
                acl word path,word(1,/) -m str a
                http-request set-header X-Api yes if api
                http-request set-header X-Long yes if long
                http-request set-header X-Short yes if short
                http-request set-header X-Inside yes if inside
                http-request set-header X-Found yes if found
                http-request set-header X-Sub yes if sub
                http-request set-header X-End yes if end
                http-request set-header X-Base yes if base
                http-request set-header X-Second yes if second
                http-request set-header X-Word yes if word
                http-request set-header X-V11 yes if HTTP_1.1
                http-request set-header X-Some yes if api !inside or short || long end
                http-request set-header X-Up yes if { srv_is_up(b/one) }
                http-request set-header X-Many yes if { nbsrv(b) ge 1 }",
        back: "",
        messages: &[
            ("GET /a/b HTTP/1.1\r\nHost: www.example.org\r\nX-Real-IP: 10.1.2.3\r\nX-List: one, two\r\n\r\n", OK),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\nX-Real-IP: 11.1.2.3\r\n\r\n", OK),
            ("GET /abcdb HTTP/1.1\r\nHost: x\r\nX-List: one,two,three\r\n\r\n", OK),
        ],
    },
    Case {
        name: "what is captured is logged",
        front: "capture request header Host len 5
                capture request header X-None len 5
                declare capture request len 6
                http-request capture req.hdr(x-one) id 2
                http-request capture path,upper len 20
                capture response header Server len 20
                declare capture response len 8
                http-response capture res.hdr(x-two) id 1
                capture cookie SES len 10
                http-request set-header X-Captured %[capture.req.hdr(2)]
                log-format \"%hr %hs %hrl %hsl %CC %CS %{+Q}hr %HM\"",
        back: "",
        messages: &[
            (
                "GET /up HTTP/1.1\r\nHost: www.example.org\r\nX-One: 123456789\r\nCookie: a=b; SESSION=12345678\r\n\r\n",
                "HTTP/1.1 200 OK\r\nServer: it {self}\r\nX-Two: 2|2\r\nSet-Cookie: SESSION=new; path=/\r\nContent-Length: 0\r\n\r\n",
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "requests have names of their own",
        front: "unique-id-format %{+X}o\\ %HM-%[path]-%{-X}ST
                unique-id-header X-Unique-ID
                http-request set-header X-Same %[unique-id]
                log-format %ID",
        back: "",
        messages: &[(GET, OK), ("GET /x HTTP/1.1\r\nHost: a\r\nX-Unique-ID: forged\r\n\r\n", OK)],
    },
    Case {
        name: "a cookie that is inserted leads back",
        front: "log-format \"%s %tsc\"",
        back: "cookie SRV insert indirect nocache httponly secure domain .example.org",
        messages: &[
            (GET, OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; SRV=s1; c=d\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=b; SRV=gone\r\n\r\n", OK),
            (GET, "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n"),
            (GET, "HTTP/1.1 200 OK\r\nCache-Control: max-age=5\r\nContent-Length: 0\r\n\r\n"),
            (GET, "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nETag: \"x\"\r\nContent-Length: 0\r\n\r\n"),
            (GET, "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=own; path=/x\r\nSet-Cookie: other=1\r\nContent-Length: 0\r\n\r\n"),
        ],
    },
    Case {
        name: "a cookie may be inserted for all to see",
        front: "log-format \"%s %tsc\"",
        back: "cookie SRV insert preserve postonly",
        messages: &[
            (GET, OK),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", OK),
            ("POST / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1\r\nContent-Length: 0\r\n\r\n", OK),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=own\r\nContent-Length: 0\r\n\r\n",
            ),
        ],
    },
    Case {
        name: "a cookie may be the application's, with the server in front",
        front: "log-format \"%s %tsc\"",
        back: "cookie SES prefix",
        messages: &[
            (GET, "HTTP/1.1 200 OK\r\nSet-Cookie: SES=abc; path=/\r\nContent-Length: 0\r\n\r\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SES=s1~abc\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SES=abc\r\n\r\n", OK),
        ],
    },
    Case {
        name: "a cookie may be rewritten",
        front: "log-format \"%s %tsc\"",
        back: "cookie SRV rewrite",
        messages: &[
            (GET, "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=x; path=/\r\nContent-Length: 0\r\n\r\n"),
            (GET, OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1\r\n\r\n", OK),
        ],
    },
    Case {
        name: "a cookie may only be read",
        front: "log-format \"%s %tsc\"",
        back: "cookie SRV",
        messages: &[
            (GET, "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=s1; path=/\r\nContent-Length: 0\r\n\r\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1\r\n\r\n", OK),
        ],
    },
    Case {
        name: "answers are made here",
        front: "http-request return status 201 content-type text/x lf-string \"at %[path]\" hdr X-Where %[path] if { path_beg /r }
                http-request return status 204 if { path /n }
                http-request redirect location /moved?%[query] code 301 if { path /l }
                http-request redirect prefix https://x code 307 drop-query append-slash if { path /p }
                http-request redirect location / set-cookie SEEN=1 if { path /c }
                http-request redirect location / clear-cookie USER= if { path /d }
                http-request redirect location %[req.hdr(x-none)] ignore-empty if { path /e }
                http-request deny deny_status 429 if { path /t }
                http-request tarpit deny_status 503 if { path /z }
                timeout tarpit 100ms
                log-format \"%s %ST %ts\"",
        back: "",
        messages: &[
            ("GET /r HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /n HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /l?q HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /p?q HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /c HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /d HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /e HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /t HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /z HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "https log lines",
        front: "option httpslog",
        back: "",
        messages: &[(GET, OK), ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK)],
    },
    Case {
        name: "servers are told which address was meant",
        front: "option originalto except 192.0.2.0/24 header X-Meant
                option forwardfor",
        back: "",
        messages: &[(GET, OK)],
    },
    Case {
        name: "an address that is excepted is not told",
        front: "option originalto except 127.0.0.0/8",
        back: "option originalto",
        messages: &[(GET, OK)],
    },
    Case {
        name: "errors lead elsewhere",
        front: "http-request deny deny_status 401 if { path /1 }
                http-request deny deny_status 403 if { path /2 }
                http-request deny deny_status 404 if { path /3 }
                http-request deny deny_status 405 if { path /4 }
                http-request deny deny_status 410 if { path /5 }
                http-request deny deny_status 429 if { path /6 }
                http-request deny deny_status 503 if { path /7 }
                http-request deny deny_status 500 if { path /8 }
                errorloc 401 /sorry
                errorloc302 403 https://example.org/x?a=b
                errorloc303 404 /see
                http-error status 405 content-type text/plain lf-string \"not %[path] %[src]\" hdr X-Method %[method] hdr X-B b
                http-error status 410
                http-error status 429 hdr X-Only yes
                errorloc 503 /first
                http-error status 503 content-type application/json string \"{ sorry: %[path] }\"
                http-error status 500 content-type text/plain string first
                errorloc 500 /last
                log-format \"%s %ST %ts\"",
        back: "",
        messages: &[
            ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /4 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /5 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /6 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /7 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /8 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "all that clients are told is changed",
        front: "http-request deny if { path /deny }
                http-request redirect location /there if { path /redirect }
                http-request return status 200 content-type text/plain string here if { path /return }
                http-error status 403 content-type text/plain string no
                http-response set-header X-Response yes
                http-after-response set-header X-Status %[status] unless { status 302 }
                http-after-response set-header X-Server %[res.hdr(server)] if { res.hdr(server) -m found }
                http-after-response set-status 418 if { status 299 }
                http-after-response del-header Server
                http-after-response set-var(txn.told) status
                http-after-response add-header X-Told %[var(txn.told)]
                http-after-response set-header X-Front last
                log-format \"%s %ST\"",
        back: "http-after-response set-header X-Back yes
                http-after-response allow if { res.hdr(x-stop) -m found }
                http-after-response set-header X-Front first
                http-after-response set-header X-Back-End yes",
        messages: &[
            (GET, "HTTP/1.1 200 OK\r\nServer: it\r\nContent-Length: 2\r\n\r\nok"),
            (GET, "HTTP/1.1 200 OK\r\nX-Stop: it\r\nContent-Length: 2\r\n\r\nok"),
            (GET, "HTTP/1.1 299 OK\r\nContent-Length: 2\r\n\r\nok"),
            (GET, "no response"),
            ("GET /deny HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /redirect HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /return HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "servers are chosen by what is asked",
        front: "log-format \"%s %ST %tsc\"",
        back: "cookie SRV insert indirect
                server three SERVER cookie s3
                server gone SERVER cookie s4 disabled
                use-server gone if { path_beg /a }
                use-server three if { path_beg /a }
                use-server %[req.hdr(x-server)] if { path_beg /b }
                use-server one unless { path /c }",
        messages: &[
            (GET, OK),
            ("GET /b HTTP/1.1\r\nHost: a\r\nX-Server: three\r\n\r\n", OK),
            ("GET /b HTTP/1.1\r\nHost: a\r\nX-Server: none\r\n\r\n", OK),
            ("GET /d HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /d HTTP/1.1\r\nHost: a\r\nCookie: SRV=s3\r\n\r\n", OK),
            ("GET /a HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1\r\n\r\n", OK),
        ],
    },
    Case {
        name: "persistence is forced and ignored",
        front: "log-format \"%s %ST %tsc\"",
        back: "cookie SRV insert indirect
                server gone SERVER cookie s4 disabled
                force-persist if { path_beg /force }
                ignore-persist if { path_beg /ignore }
                use-server gone if { path /force/rule }
                balance first",
        messages: &[
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s4\r\n\r\n", OK),
            ("GET /force HTTP/1.1\r\nHost: a\r\nCookie: SRV=s4\r\n\r\n", OK),
            ("GET /force HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /force/rule HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /ignore HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1\r\n\r\n", OK),
            ("GET /ignore HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "servers that are down are used where that is said",
        front: "log-format \"%s %ST %tsc\"",
        back: "option persist
                cookie SRV insert
                server gone SERVER cookie s4 disabled
                use-server gone if { path /rule }
                balance first",
        messages: &[
            (GET, OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s4\r\n\r\n", OK),
            ("GET /rule HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "cookies have dates",
        front: "log-format \"%s %tsc\"",
        back: "cookie SRV insert indirect maxidle 30m maxlife 8h",
        messages: &[
            (GET, OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW-40|NOW-40\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW-40\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW-4000|NOW-5000\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW-40|NOW-40000\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW+4000|NOW-40\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|junk\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=sx|NOW-40\r\n\r\n", OK),
        ],
    },
    Case {
        name: "a cookie may have one date",
        front: "log-format \"%s %tsc\"",
        back: "cookie SRV insert maxidle 30m",
        messages: &[
            (GET, OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW-40\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW-40|NOW-80\r\n\r\n", OK),
        ],
    },
    Case {
        name: "a cookie may have the date of the first visit",
        front: "log-format \"%s %tsc\"",
        back: "cookie SRV insert maxlife 8h",
        messages: &[
            (GET, OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW-40|NOW-80\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW+40|NOW-80\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=s1|NOW-40\r\n\r\n", OK),
        ],
    },
    Case {
        name: "backends are chosen by what is asked",
        front: "use_backend %[req.hdr(host),lower,map(MAP,other)] if { path_beg /m }
                use_backend %[req.hdr(x-backend)] if { path /x }
                log-format \"%b %s\"",
        back: "",
        messages: &[
            ("GET /m HTTP/1.1\r\nHost: B.example\r\n\r\n", OK),
            ("GET /m HTTP/1.1\r\nHost: unknown\r\n\r\n", OK),
            ("GET /x HTTP/1.1\r\nHost: a\r\nX-Backend: other\r\n\r\n", OK),
            ("GET /x HTTP/1.1\r\nHost: a\r\nX-Backend: none\r\n\r\n", OK),
            ("GET /x HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "requests of each client are counted",
        front: "stick-table type ip size 100 expire 30s store \
                gpc0,conn_cnt,conn_cur,http_req_cnt,http_req_rate(10s),http_err_cnt,http_err_rate(10s)
                http-request track-sc0 src
                http-request sc-inc-gpc0(0) if { path /inc }
                http-request set-header X-Requests-2 yes if { sc_http_req_cnt(0) eq 2 }
                http-request set-header X-Rate-3 yes if { sc0_http_req_rate ge 3 }
                http-request set-header X-Errors-1 yes if { sc_http_err_cnt(0) eq 1 }
                http-request set-header X-Errors-2 yes if { src_http_err_rate(f) eq 2 }
                http-request set-header X-Errors-3 yes if { src_http_err_rate eq 3 }
                http-request set-header X-Now yes if { sc_conn_cur(0) ge 1 }
                http-request set-header X-Counted-4 yes if { sc_conn_cnt(0) eq 4 }
                http-request set-header X-Inc yes if { sc_get_gpc0(0) gt 0 }
                http-request set-header X-Nobody yes if { sc_http_req_cnt(1) ge 0 }
                http-request set-header X-Not-Stored yes if { sc_conn_rate(0) ge 0 }
                http-request deny if { path /deny }
                http-request return status 404 if { path /return }
                http-request auth if { path /auth }
                http-request deny deny_status 429 if { sc_http_req_rate(0) gt 9 }
                log-format \"%s %ST %ts\"",
        back: "",
        messages: &[
            ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /inc HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /3 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            ("GET /4 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"),
            ("GET /deny HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /return HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /7 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /auth HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /9 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /10 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "some requests are counted, by what they say, in a table of another proxy",
        front: "stick-table type ip size 100 expire 30s store http_req_cnt
                http-request track-sc0 src if { path_beg /c }
                http-request track-sc1 req.hdr(x-key) table b
                http-request set-header X-Counted yes if { sc0_http_req_cnt ge 1 }
                http-request set-header X-Twice yes if { src_http_req_cnt(f) eq 2 }
                http-request set-header X-Never yes if { src_http_req_cnt eq 0 }
                http-request set-header X-Key-1 yes if { sc1_http_req_cnt eq 1 }
                http-request set-header X-Key-2 yes if { sc_http_req_cnt(1) eq 2 }",
        back: "stick-table type string len 32 size 100 store http_req_cnt,http_err_cnt
                http-request track-sc2 path
                http-request set-header X-Path-2 yes if { sc2_http_req_cnt eq 2 }",
        messages: &[
            ("GET / HTTP/1.1\r\nHost: a\r\nX-Key: one\r\n\r\n", OK),
            ("GET /c HTTP/1.1\r\nHost: a\r\nX-Key: two\r\n\r\n", OK),
            ("GET /c HTTP/1.1\r\nHost: a\r\nX-Key: one\r\n\r\n", OK),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "connections are counted from the rule on, and rules in between see them",
        front: "stick-table type ip size 100 expire 30s store conn_cur
                tcp-request connection track-sc0 src
                tcp-request connection reject if { src_conn_cur lt 1 }
                tcp-request session reject if { sc_conn_cur(0) lt 1 }
                tcp-request inspect-delay 5s
                tcp-request content track-sc1 req.hdr(x-key) table b
                tcp-request content accept if { path /accept }
                tcp-request content reject if { path_beg /a } or { src 192.0.2.0/24 }
                http-request set-header X-Counted yes if { sc_conn_cur(0) ge 1 }
                http-request set-header X-Key-2 yes if { sc_http_req_cnt(1) eq 2 }",
        back: "stick-table type string size 100 store http_req_cnt",
        messages: &[
            ("GET /1 HTTP/1.1\r\nHost: a\r\nX-Key: one\r\n\r\n", OK),
            ("GET /accept HTTP/1.1\r\nHost: a\r\nX-Key: one\r\n\r\n", OK),
            ("GET /again HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /4 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"),
            ("GET /5 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
        ],
    },
    Case {
        name: "a page may be nothing at all",
        front: "errorfile 403 /dev/null
                http-request deny if { path /denied }
                log-format \"%s %ST %ts\"",
        back: "",
        messages: &[("GET /denied HTTP/1.1\r\nHost: a\r\n\r\n", OK), (GET, OK)],
    },
    Case {
        name: "patterns come from files",
        front: "http-request deny if { path -f PATTERNS }
                http-request set-header X-Large yes if { path -i -f PATTERNS /OTHER }
                http-request set-header X-Theirs yes if { req.hdr_ip(x-from) -f NETWORKS }
                http-request set-header X-Mine yes if { src -f NETWORKS 10.0.0.0/8 }
                log-format \"%s %ST\"",
        back: "",
        messages: &[
            ("GET /denied HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /too HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /fine HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /path39 HTTP/1.1\r\nHost: a\r\n\r\n", OK),
            ("GET /PATH7 HTTP/1.1\r\nHost: a\r\nX-From: 198.51.39.127\r\n\r\n", OK),
            ("GET /other HTTP/1.1\r\nHost: a\r\nX-From: 198.51.39.128\r\n\r\n", OK),
        ],
    },
];

/// What became of one message: what the server read, what the client read, what was logged.
type Seen = (Option<String>, String, String);

/// One request over a connection of its own, to `proxy`; `server` answers if it is asked.
fn exchange(
    proxy: SocketAddr,
    server: &TcpListener,
    request: &str,
    response: &str,
) -> (Option<String>, String) {
    server.set_nonblocking(true).unwrap();
    let mut client = patient(TcpStream::connect(proxy).unwrap());
    client.write_all(request.as_bytes()).unwrap();
    client.set_nonblocking(true).unwrap();
    let mut asked = None;
    let mut told = Vec::new();
    let mut over = false;
    eventually(|| {
        if asked.is_none()
            && let Ok((stream, _)) = server.accept()
        {
            stream.set_nonblocking(false).unwrap();
            let mut stream = patient(stream);
            asked = Some(head(&mut stream));
            stream.write_all(response.as_bytes()).unwrap();
        }
        let mut buffer = [0; 4096];
        while let Ok(count) = client.read(&mut buffer) {
            if count == 0 {
                over = true;
                break;
            }
            told.extend_from_slice(&buffer[..count]);
        }
        over || is_whole(&told)
    });
    (
        asked.map(|head| normal(&head)),
        normal(&String::from_utf8(told).unwrap()),
    )
}

/// `NOW-40` as cookies have it: five digits of six bits each, in units of four seconds.
fn dated(request: &str, now: i64) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut parts = request.split("NOW");
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part[1..].find(|c: char| !c.is_ascii_digit()).unwrap() + 1;
        let offset: i64 = part[..end].parse().unwrap();
        let number = (now + offset) / 4;
        made.extend(
            (0..5)
                .rev()
                .map(|place| char::from(DIGITS[(number >> (6 * place) & 63) as usize])),
        );
        made += &part[end..];
    }
    made
}

/// Dates in cookies differ by when they were made.
fn undated(field: &str) -> String {
    let mut parts = field.split('|');
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        made += "|date";
        made += part.get(5..).unwrap_or(part);
    }
    made
}

fn head(from: &mut TcpStream) -> String {
    let mut octets = Vec::new();
    while !octets.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        assert_eq!(
            from.read(&mut one).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&octets)
        );
        octets.push(one[0]);
    }
    String::from_utf8(octets).unwrap()
}

fn is_whole(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    head.starts_with("http/1.1 204") || body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// Ports, dates, durations and octets of a line are not compared.
fn timeless(line: &str) -> String {
    let Some(at) = line.find("] f").filter(|_| line.starts_with("127.0.0.1:")) else {
        return line.to_owned();
    };
    let words: Vec<&str> = line[at..].split(' ').collect();
    let rest = words
        .iter()
        .enumerate()
        .filter(|(place, _)| ![3, 5].contains(place));
    rest.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

/// Names of headers have no case, order among different ones means nothing, and who closes is not what is compared.
fn normal(message: &str) -> String {
    let Some((head, body)) = message.split_once("\r\n\r\n") else {
        assert_eq!(message, "");
        return "the end".to_owned();
    };
    let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let fields = fields
        .split("\r\n")
        .filter(|field| !field.is_empty())
        .map(|field| {
            let (name, value) = field.split_once(':').unwrap();
            let value = match name.to_ascii_lowercase().as_str() {
                "set-cookie" => undated(value.trim()),
                _ => value.trim().to_owned(),
            };
            format!("{}: {value}", name.to_ascii_lowercase())
        });
    let mut fields: Vec<String> = fields
        .filter(|field| !field.starts_with("connection: "))
        .collect();
    fields.sort();
    // Pages of errors have words of their own.
    let body = if body.starts_with("<html>") {
        "a page"
    } else {
        body
    };
    let fields: Vec<String> = fields
        .into_iter()
        .filter(|field| body != "a page" || !field.starts_with("content-length: "))
        .collect();
    format!("{first}\n{}\n\n{body}", fields.join("\n"))
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn text(
    case: &Case,
    directory: &std::path::Path,
    front: SocketAddr,
    server: SocketAddr,
    log: SocketAddr,
) -> String {
    let format = if ["log-format", "httpslog"]
        .iter()
        .any(|own| case.front.contains(own))
    {
        ""
    } else {
        " log-format \"%s %ST\"\n"
    };
    let text = format!(
        "global\n log {log} local0\ndefaults\n mode http\n option dontlognull\n log global\n timeout connect 5s\n timeout client 5s\n timeout server \
         5s\nfrontend f\n bind {front}\n{format}{}\n default_backend b\nbackend b\n http-reuse never\n{}\n server one {server} \
         cookie s1\nbackend other\n http-reuse never\n server two {server}\n",
        case.front, case.back
    );
    let path = |name: &str| directory.join(name).display().to_string();
    text.replace("SERVER", &server.to_string())
        .replace("MAP", &path("map"))
        .replace("PATTERNS", &path("patterns"))
        .replace("NETWORKS", &path("networks"))
}

fn with_haproxy(case: &Case, directory: &std::path::Path, now: i64) -> Vec<Seen> {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let log = UdpSocket::bind("127.0.0.1:0").unwrap();
    log.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let front = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = directory.join("haproxy.cfg");
    let addresses = (server.local_addr().unwrap(), log.local_addr().unwrap());
    std::fs::write(&file, text(case, directory, front, addresses.0, addresses.1)).unwrap();
    let checked = Command::new("/usr/sbin/haproxy")
        .arg("-c")
        .arg("-f")
        .arg(&file)
        .output();
    let checked = checked.expect("haproxy is installed (scripts/setup)");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{}:\n{said}", case.name);
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(&file).stderr(Stdio::null());
    let _running = Running(command.spawn().unwrap());
    eventually(|| TcpStream::connect(front).is_ok());
    let line = move || {
        let mut buffer = [0; 4096];
        loop {
            let count = log.recv(&mut buffer).expect("a log line");
            let line = String::from_utf8_lossy(&buffer[..count]).into_owned();
            let (_, line) = line.split_once("]: ").unwrap();
            // The connections that only asked whether it listens say nothing of interest.
            if !line.contains("BADREQ") && !line.contains("<NOSRV> 400") && !line.contains("started") {
                return line.trim_end().to_owned();
            }
        }
    };
    let seen = case.messages.iter().map(|(request, response)| {
        let (asked, told) = exchange(front, &server, &dated(request, now), response);
        (asked, told, timeless(&line()))
    });
    seen.collect()
}

fn with_ours(case: &Case, directory: &std::path::Path, now: i64) -> Vec<Seen> {
    let machine = Machine {
        host: "alpha".to_owned(),
        processors: NonZeroUsize::MIN,
        open_files: 20_000,
    };
    let bench = Bench::new(1, |plan: &mut Plan| {
        let HostAddress::Ip(server) = plan.backends[0].servers[0].address.clone() else {
            panic!("an address")
        };
        let nowhere = ([127, 0, 0, 1], 1).into();
        let text = text(case, directory, nowhere, server, nowhere);
        let loaded = load_haproxy_text(SourceFile::new("haproxy.cfg", text), &machine);
        *plan = loaded
            .unwrap_or_else(|error| panic!("{}:\n{error}", case.name))
            .plan;
    });
    let server = bench.listener(0);
    let seen = case.messages.iter().map(|(request, response)| {
        let (asked, told) = exchange(bench.address, &server, &dated(request, now), response);
        (asked, told, timeless(bench.line().text.trim_end()))
    });
    seen.collect()
}

#[test]
fn rules_have_the_same_effect_as_in_haproxy() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    file("map", "# hosts\nb.example b\n\nother.example other\n");
    let some = |line: fn(u8) -> String| (0..40).map(line).collect::<String>();
    let paths = some(|number| format!("/path{number}\n"));
    file("patterns", &format!("# of paths\n/denied\n\n  /too\n{paths}"));
    let networks = some(|number| format!("198.51.{number}.0/25\n"));
    file("networks", &format!("127.0.0.0/8\n192.0.2.1\n{networks}"));
    let mut wrong = String::new();
    for case in CASES {
        let since = warren_kit::clock::wall_clock().duration_since(std::time::UNIX_EPOCH);
        let now = since.unwrap().as_secs() as i64;
        let theirs = with_haproxy(case, directory.path(), now);
        let ours = with_ours(case, directory.path(), now);
        for ((theirs, ours), (request, _)) in theirs.iter().zip(&ours).zip(case.messages) {
            if theirs != ours {
                wrong += &format!(
                    "\n=== {}: {request}--- HAProxy\n{theirs:#?}\n--- ours\n{ours:#?}\n",
                    case.name
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.replace("\\n", "\n      "));
}
