//! Bundles that stay at a server: RAUC reads them by ranges, with the headers it was given. Writing from a stream needs
//! dm-verity in the kernel and is tested on the booted image.

use crate::rig::Rig;
use margo_agent::updater::Origin;
use state_machine::failure::Code;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Serves one file by ranges to whoever shows the token; returns its address.
async fn serve(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/fw", listener.local_addr().unwrap());
    let content = Arc::new(content);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, Arc::clone(&content)));
        }
    });
    address
}

async fn answer(mut socket: TcpStream, content: Arc<Vec<u8>>) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&seen[..end]).to_lowercase();
            seen.drain(..end + 4);
            let reply = reply(&head, &content);
            if socket.write_all(&reply).await.is_err() {
                return;
            }
        }
        match socket.read(&mut buffer).await {
            Ok(count) if count > 0 => seen.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
}

fn reply(head: &str, content: &[u8]) -> Vec<u8> {
    if !head.contains("authorization: bearer secret") {
        return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec();
    }
    let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
    let Some((from, to)) = range.and_then(|range| range.split_once('-')) else {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
        return [head.as_bytes(), content].concat();
    };
    let (from, last): (usize, usize) = (from.parse().unwrap(), content.len() - 1);
    let to = to.trim().parse().unwrap_or(last).min(last);
    let part = &content[from..=to];
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{to}/{}\r\n\r\n",
        part.len(),
        content.len()
    );
    [head.as_bytes(), part].concat()
}

#[tokio::test]
async fn a_bundle_is_read_where_it_is_with_the_registrys_token() {
    let Some(rig) = Rig::start().await else { return };
    let verity = rig.bundle("verity", |manifest| manifest.replace("=plain", "=verity"));
    let location = serve(std::fs::read(verity).unwrap()).await;
    let headers = vec!["Authorization: Bearer secret".to_owned()];
    let origin = Origin { location: location.clone(), headers, tls_ca: None };
    let bundle = rig.updater.inspect(&origin).await.unwrap();
    assert_eq!(bundle.version, "2.0.0");

    let failure = rig.updater.inspect(&Origin::plain(location)).await.unwrap_err();
    assert_eq!(failure.code, Code::FirmwareFetchFailed, "{failure}");
}

#[tokio::test]
async fn a_plain_bundle_cannot_be_streamed_and_the_failure_says_so() {
    let Some(rig) = Rig::start().await else { return };
    let plain = rig.bundle("plain", |manifest| manifest);
    let location = serve(std::fs::read(plain).unwrap()).await;
    let headers = vec!["Authorization: Bearer secret".to_owned()];
    let origin = Origin { location, headers, tls_ca: None };
    let failure = rig.updater.inspect(&origin).await.unwrap_err();
    assert!(failure.message.contains("stream"), "what makes the agent stage it: {failure}");
}
