//! Finds the client of a request, as far as the proxies in front can be trusted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Once;

use axum::http::HeaderMap;

/// Name of the header to whose end each proxy appends the address of its own client.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// Headers that show that a proxy is in front.
const FORWARDED: &[&str] = &[FORWARDED_FOR, "forwarded", "x-real-ip"];

/// Holds the address at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(super) IpAddr);

/// Returns the client's address: the peer's, or behind `trusted` proxies the entry that the outermost of them
/// appended, which is the `trusted`-th from the right. Entries further left are ignored, since anybody can have
/// written them. An entry that is no address gives the peer's.
pub(super) fn client_address(Peer(peer): Peer, headers: &HeaderMap, trusted: usize) -> IpAddr {
    if trusted == 0 {
        warn_once(headers);
        return peer;
    }
    // A client may have written any bytes before the proxy's entry.
    let lines: Vec<_> =
        headers.get_all(FORWARDED_FOR).iter().map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    let entries: Vec<&str> = lines.iter().flat_map(|line| line.split(',')).map(str::trim).collect();
    let entry = entries.get(entries.len().saturating_sub(trusted));
    entry.and_then(|entry| parse_address(entry)).unwrap_or(peer)
}

/// Parses an address, with or without a port.
fn parse_address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// Warns once if a proxy is in front although `TRUSTED_PROXIES` is 0: all readers behind the proxy count as one
/// client.
fn warn_once(headers: &HeaderMap) {
    static WARNED: Once = Once::new();
    if FORWARDED.iter().any(|name| headers.contains_key(*name)) {
        WARNED.call_once(|| {
            tracing::warn!(
                "a request came through a proxy, and TRUSTED_PROXIES is 0: RATE_LIMIT takes all readers behind the proxy \
                for one"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client_of(lines: &[&'static str], trusted: usize) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        client_address(Peer("10.0.0.1".parse().unwrap()), &headers, trusted).to_string()
    }

    #[test]
    fn only_what_a_trusted_proxy_wrote_is_believed() {
        assert_eq!(client_of(&["203.0.113.9"], 0), "10.0.0.1", "nobody is trusted");
        assert_eq!(
            client_of(&["1.2.3.4, 203.0.113.9"], 1),
            "203.0.113.9",
            "what the client itself wrote stands before it"
        );
        assert_eq!(client_of(&["1.2.3.4", "203.0.113.9"], 1), "203.0.113.9", "lines are one list");
        assert_eq!(client_of(&["1.2.3.4, 203.0.113.9, 10.0.0.2"], 2), "203.0.113.9");
        assert_eq!(client_of(&["\u{ff}\u{a0}, 203.0.113.9"], 1), "203.0.113.9");
        assert_eq!(client_of(&["203.0.113.9"], 2), "203.0.113.9", "asked past the outer proxy");
    }

    #[test]
    fn an_entry_may_have_a_port_and_what_is_no_address_is_the_peer() {
        assert_eq!(client_of(&["203.0.113.9:4711"], 1), "203.0.113.9");
        assert_eq!(client_of(&["[2001:db8::1]:4711"], 1), "2001:db8::1");
        assert_eq!(client_of(&["[2001:db8::1]"], 1), "2001:db8::1");
        assert_eq!(client_of(&["2001:db8::1"], 1), "2001:db8::1");
        for line in ["unknown", "", "203.0.113.9.example", ","] {
            assert_eq!(client_of(&[line], 1), "10.0.0.1", "{line:?}");
        }
        assert_eq!(client_of(&[], 1), "10.0.0.1");
    }
}
