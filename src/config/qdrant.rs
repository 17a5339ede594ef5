//! Reads the place of the index: a Qdrant server, or a folder.

use std::path::PathBuf;

use http::Uri;
use secrecy::SecretString;

use super::vars::Reader;

/// Port of Qdrant's REST interface, which people copy from their browser.
const QDRANT_REST_PORT: u16 = 6333;
/// Port of Qdrant's gRPC interface, which Docent uses.
const QDRANT_GRPC_PORT: u16 = 6334;

/// Selects the index to search.
#[derive(Debug, Clone)]
pub enum IndexConfig {
    /// A Qdrant server, over gRPC.
    Remote(RemoteConfig),
    /// The index that lives in this process, in generations under a folder.
    Embedded {
        /// Folder of the generations, `DOCENT_DATA`.
        data: PathBuf,
    },
    /// Documentation that is indexed at start, in a temporary folder.
    Demo(DemoConfig),
}

/// Names the documentation of a demo.
#[derive(Debug, Clone)]
pub struct DemoConfig {
    /// Folder of Markdown files; `None` takes the bundled handbook.
    pub docs: Option<PathBuf>,
    /// Path under which the pages are served.
    pub route_base: String,
    /// Language tag of the pages.
    pub language: Option<String>,
}

/// Describes a collection on a Qdrant server.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// gRPC address, with scheme and port.
    pub url: String,
    /// API key; sent in the `api-key` header and nowhere else.
    pub api_key: Option<SecretString>,
    /// Name of the collection.
    pub collection: String,
    /// Name of the dense vector; needed if the collection has several.
    pub vector_name: Option<String>,
    /// Name of the sparse vector; needed if the collection has several.
    pub sparse_name: Option<String>,
    /// Payload keys of a passage's parts, for a collection without the usual names.
    pub keys: PayloadKeys,
}

/// Holds the payload keys that the operator set, with dots for nesting.
#[derive(Debug, Clone, Default)]
pub struct PayloadKeys {
    /// Key of the text.
    pub text: Option<String>,
    /// Key of the page title.
    pub title: Option<String>,
    /// Key of the heading.
    pub section: Option<String>,
    /// Key of the page address.
    pub url: Option<String>,
}

impl IndexConfig {
    /// Reads the settings of a Qdrant server if its address is set, else the folder of the embedded index.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let name = if reader.text("QDRANT_URL").is_some() { "QDRANT_URL" } else { "QDRANT_HOST" };
        if reader.text(name).is_none() {
            return Self::Embedded { data: reader.text("DOCENT_DATA").unwrap_or_default().into() };
        }
        let api_key = reader.secret("QDRANT_API_KEY");
        let has_key = reader.text("QDRANT_API_KEY").is_some();
        Self::Remote(RemoteConfig {
            url: reader.parse(name, |text| parse_qdrant_url(text, has_key)).unwrap_or_default(),
            api_key,
            collection: reader.owned_text("QDRANT_COLLECTION_NAME").unwrap_or_default(),
            vector_name: reader.owned_text("QDRANT_VECTOR_NAME"),
            sparse_name: reader.owned_text("QDRANT_SPARSE_NAME"),
            keys: PayloadKeys {
                text: reader.owned_text("PAYLOAD_TEXT_KEY"),
                title: reader.owned_text("PAYLOAD_TITLE_KEY"),
                section: reader.owned_text("PAYLOAD_SECTION_KEY"),
                url: reader.owned_text("PAYLOAD_URL_KEY"),
            },
        })
    }
}

/// Returns the gRPC address meant by a bare host, a host with a port, or a REST or gRPC URL. If the scheme is
/// missing, a server that has a key is reached over TLS. The path is dropped: gRPC has no path, and an address
/// that was copied from a browser ends in `/dashboard`.
fn parse_qdrant_url(text: &str, has_key: bool) -> Result<String, String> {
    const WANTED: &str = "must be a host, host:port, or an http:// or https:// URL";
    let assumed = if has_key { "https" } else { "http" };
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("{assumed}://{text}") };
    let uri: Uri = with_scheme.parse().map_err(|_| WANTED.to_owned())?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or(WANTED)?;
    let authority = uri.authority().ok_or(WANTED)?;
    if authority.as_str().contains('@') {
        return Err("must not contain a user or password; set QDRANT_API_KEY instead".to_owned());
    }
    let port = match authority.port_u16() {
        None | Some(QDRANT_REST_PORT) => QDRANT_GRPC_PORT,
        Some(port) => port,
    };
    Ok(format!("{scheme}://{}:{port}", authority.host()))
}

#[cfg(test)]
mod tests {
    use super::super::vars::Vars;
    use super::*;

    fn remote(pairs: &[(&str, &str)]) -> RemoteConfig {
        let vars = Vars::from_iter(pairs.iter().copied());
        match IndexConfig::read(&mut Reader::new(&vars)) {
            IndexConfig::Remote(remote) => remote,
            other => panic!("expected a remote index, got {other:?}"),
        }
    }

    #[test]
    fn qdrant_url_takes_every_address_that_people_copy() {
        for (given, key, expected) in [
            ("localhost", None, "http://localhost:6334"),
            ("localhost:6333", None, "http://localhost:6334"),
            ("localhost:7000", None, "http://localhost:7000"),
            ("http://localhost:6333/", None, "http://localhost:6334"),
            ("http://localhost:6333/dashboard", None, "http://localhost:6334"),
            ("https://x.cloud.qdrant.io:6333", Some("k"), "https://x.cloud.qdrant.io:6334"),
            ("https://x.cloud.qdrant.io", Some("k"), "https://x.cloud.qdrant.io:6334"),
            ("x.cloud.qdrant.io", Some("k"), "https://x.cloud.qdrant.io:6334"),
            ("https://proxy.example:443", Some("k"), "https://proxy.example:443"),
            ("http://qdrant:6334", Some("k"), "http://qdrant:6334"),
            ("[::1]:6333", None, "http://[::1]:6334"),
        ] {
            let mut pairs = vec![("QDRANT_URL", given)];
            pairs.extend(key.map(|key| ("QDRANT_API_KEY", key)));
            assert_eq!(remote(&pairs).url, expected, "{given}");
        }
    }

    #[test]
    fn qdrant_host_is_another_name_for_qdrant_url() {
        assert_eq!(remote(&[("QDRANT_HOST", "qdrant")]).url, "http://qdrant:6334");
    }
}
