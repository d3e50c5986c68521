//! The secret of a webhook, and what is signed with it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ring::hmac;

/// Longest secret, in bytes.
const MAX_SECRET: u64 = 4096;

/// The secret in a file, without the white space at its end.
///
/// # Errors
/// It cannot be read, is empty or too long.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Reading a pipe or a terminal would wait.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut secret = Vec::new();
    File::open(path)?.take(MAX_SECRET + 1).read_to_end(&mut secret)?;
    if secret.len() as u64 > MAX_SECRET {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    secret.truncate(secret.trim_ascii_end().len());
    if secret.is_empty() {
        return Err(io::Error::other("empty"));
    }
    Ok(secret)
}

/// HMAC-SHA256 of what is sent, in hexadecimal.
pub(super) fn signature(secret: &[u8], body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body);
    let mut text = "sha256=".to_owned();
    for byte in tag.as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, section 4.3.
    #[test]
    fn a_signature_that_others_compute() {
        assert_eq!(
            signature(b"Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn what_is_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let longest = vec![b'a'; MAX_SECRET as usize];
        for (text, secret) in [
            (&b"s3cret\n"[..], Some(&b"s3cret"[..])),
            (b" a b \r\n\n", Some(b" a b")),
            (&longest, Some(&longest)),
            (&[&longest[..], b"\n"].concat(), None),
            (b"\n", None),
            (b"", None),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path).ok().as_deref(), secret, "{text:?}");
        }
        assert!(read(folder.path()).is_err(), "a folder");
        assert!(read(&folder.path().join("none")).is_err());
        assert!(read(Path::new("/dev/zero")).is_err());
    }
}
