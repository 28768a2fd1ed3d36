//! The parts that every answer goes through.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, header};

use super::body;
use super::exchange::is_unchanged;

#[tokio::test]
async fn a_cut_body_gives_exactly_so_many_bytes_and_then_an_error() {
    use futures_util::StreamExt;
    let mut stream = body::cut(Body::from("0123456789"), 4).into_data_stream();
    assert_eq!(stream.next().await.unwrap().unwrap(), "0123");
    assert!(stream.next().await.unwrap().is_err());
}

#[tokio::test]
async fn a_body_shorter_than_the_cut_is_whole() {
    let whole = to_bytes(body::cut(Body::from("0123"), 10), 100).await.unwrap();
    assert_eq!(whole, "0123");
}

#[tokio::test]
async fn a_slow_body_comes_in_pieces_of_a_tenth_of_the_rate_and_is_whole_in_the_end() {
    use futures_util::StreamExt;
    let content = "0123456789".repeat(3);
    let pieces = body::slowed(Body::from(content.clone()), 100).into_data_stream();
    let pieces: Vec<_> = pieces.map(Result::unwrap).collect().await;
    assert!(pieces.iter().all(|piece| piece.len() == 10), "{pieces:?}");
    assert_eq!(pieces.concat(), content.as_bytes());
}

#[test]
fn an_entity_tag_matches_quoted_weak_listed_or_starred() {
    let matches = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
        is_unchanged(&headers, "sha256:ab")
    };
    assert!(matches("\"sha256:ab\""));
    assert!(matches("W/\"sha256:ab\""));
    assert!(matches("\"other\", \"sha256:ab\""));
    assert!(matches("*"));
    assert!(!matches("sha256:ab"), "an unquoted tag is none");
    assert!(!matches("\"sha256:abc\""));
}
