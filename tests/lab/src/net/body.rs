//! Bodies: read with a limit, sent slowly, or cut off.

use std::io;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

/// Pieces in which a slow body is sent, per second.
const SLOW_PIECES_PER_SECOND: u32 = 10;

/// States the length as a header, so that wrapping the body does not hide it and a cut is noticed as one.
pub(crate) fn fix_length(response: &mut Response<Body>) -> Option<u64> {
    let length = response.body().size_hint().exact();
    let stated = response.headers().contains_key(header::CONTENT_LENGTH);
    if let (Some(length), false) = (length, stated) {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let stated = response.headers().get(header::CONTENT_LENGTH);
    stated.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
}

/// The body, at this rate.
pub(crate) fn slowed(body: Body, bytes_per_second: u32) -> Body {
    let piece_bytes = usize::try_from((bytes_per_second / SLOW_PIECES_PER_SECOND).max(1));
    let piece_bytes = piece_bytes.unwrap_or(usize::MAX);
    let pieces = bytes_per_second.clamp(1, SLOW_PIECES_PER_SECOND);
    let pause = Duration::from_secs(1) / pieces;
    let start = (body.into_data_stream(), Bytes::new());
    Body::from_stream(stream::try_unfold(start, move |(mut source, mut rest)| async move {
        while rest.is_empty() {
            match source.next().await {
                Some(next) => rest = next?,
                None => return Ok::<_, axum::Error>(None),
            }
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(piece_bytes.min(rest.len()));
        Ok(Some((piece, (source, rest))))
    }))
}

/// The first bytes of the body, then a broken connection.
pub(crate) fn cut(body: Body, after_bytes: u64) -> Body {
    let left = usize::try_from(after_bytes).unwrap_or(usize::MAX);
    let start: (BodyDataStream, usize) = (body.into_data_stream(), left);
    Body::from_stream(stream::try_unfold(start, |(mut source, left)| async move {
        if left == 0 {
            // Without a turn of the loop the pieces before could die unsent in the write buffer.
            tokio::task::yield_now().await;
            return Err(axum::Error::new(io::Error::from(io::ErrorKind::ConnectionReset)));
        }
        match source.next().await {
            Some(next) => {
                let mut piece = next?;
                piece.truncate(left);
                let left = left - piece.len();
                Ok(Some((piece, (source, left))))
            }
            None => Ok(None),
        }
    }))
}
