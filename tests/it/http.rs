//! One HTTP/1.1 exchange on a connection of its own. The path goes out as it is given: nothing is tidied up.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

/// As long as the longest window of a long poll, many times over.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is kept for one request after the other.
pub(crate) struct KeptAlive(BufReader<TcpStream>);

impl KeptAlive {
    pub(crate) fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(ANSWER_PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.ask(path);
        self.answer()
    }

    /// The request alone, whose answer may be long in coming.
    pub(crate) fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }

    /// A request as it is.
    pub(crate) fn send(&mut self, request: &str) {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    pub(crate) fn answer(&mut self) -> Reply {
        read(&mut self.0, "GET").unwrap_or_else(|e| panic!("no answer: {e}"))
    }
}

pub(crate) fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> Reply {
    let headers: Vec<_> = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    exchange(port, "GET", path, &headers, None).unwrap_or_else(|e| panic!("GET {path}: {e}"))
}

/// # Errors
/// The connection ended without a whole answer.
pub(crate) fn exchange(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: identity\r\n");
    if body.is_some() || matches!(method, "POST" | "PUT" | "PATCH") {
        head.push_str(&format!("Content-Length: {}\r\n", body.map_or(0, <[u8]>::len)));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    // answered before the whole body was read: the answer may still be there
    let _ = stream.write_all(body.unwrap_or_default());
    read(&mut BufReader::new(stream), method)
}

fn read(stream: &mut impl BufRead, method: &str) -> io::Result<Reply> {
    let (status, headers) = loop {
        let (status, headers) = read_head(stream)?;
        if status >= 200 {
            break (status, headers);
        }
    };
    let mut reply = Reply { status, headers, body: Vec::new() };
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(reply);
    }
    if reply.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = read_line(stream)?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).map_err(
                |e| io::Error::new(io::ErrorKind::InvalidData, format!("chunk of `{size}` bytes: {e}")),
            )?;
            let start = reply.body.len();
            reply.body.resize(start + size, 0);
            stream.read_exact(&mut reply.body[start..])?;
            read_line(stream)?;
            if size == 0 {
                return Ok(reply);
            }
        }
    }
    match reply.header("content-length").map(str::parse::<usize>) {
        Some(Ok(length)) => {
            reply.body.resize(length, 0);
            stream.read_exact(&mut reply.body)?;
        }
        _ => {
            stream.read_to_end(&mut reply.body)?;
        }
    }
    Ok(reply)
}

fn read_head(stream: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let line = read_line(stream)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status =
        status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("status line `{line}`")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8], method: &str) -> io::Result<Reply> {
        read(&mut { bytes }, method)
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        for (bytes, body) in [
            (&b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokXX"[..], "ok"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n1\r\n!\r\n0\r\n\r\nXX",
                "ok!",
            ),
            (b"HTTP/1.1 200 OK\r\n\r\nto the end", "to the end"),
            (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n", ""),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1", "1"),
        ] {
            assert_eq!(parsed(bytes, "GET").unwrap().text(), body);
        }
        assert_eq!(parsed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "HEAD").unwrap().text(), "");
    }

    #[test]
    fn an_answer_that_is_cut_is_an_error() {
        for bytes in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
            assert!(parsed(bytes, "GET").is_err());
        }
    }
}
