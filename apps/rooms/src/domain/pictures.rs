//! Pictures. What a file is, its bytes say and not its name.

use imagesize::{ImageType, blob_size, image_type};

use super::{message::Picture, permissions};
use crate::{
    clock,
    failure::Failure,
    ids,
    store::Tx,
    tables::pictures::{self, NewPicture},
};

/// Bytes of a picture.
pub const BYTES_MAX: usize = 5 << 20;

/// Pixels of a picture: a small file can be a picture that fills a phone's memory.
const PIXELS_MAX: usize = 40_000_000;

/// A file that was recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recognized {
    content_type: &'static str,
    width: i64,
    height: i64,
}

/// Recognizes a PNG, JPEG, GIF or WebP.
///
/// # Errors
/// [`Failure::NotAPicture`]; [`Failure::TooLarge`].
pub fn recognize(bytes: &[u8]) -> Result<Recognized, Failure> {
    if bytes.len() > BYTES_MAX {
        return Err(Failure::TooLarge);
    }
    let content_type = match image_type(bytes).map_err(|_| Failure::NotAPicture)? {
        ImageType::Png => "image/png",
        ImageType::Jpeg => "image/jpeg",
        ImageType::Gif => "image/gif",
        ImageType::Webp => "image/webp",
        _ => return Err(Failure::NotAPicture),
    };
    let size = blob_size(bytes).map_err(|_| Failure::NotAPicture)?;
    if size.width.saturating_mul(size.height) > PIXELS_MAX {
        return Err(Failure::TooLarge);
    }
    match (i64::try_from(size.width), i64::try_from(size.height)) {
        (Ok(width @ 1..), Ok(height @ 1..)) => Ok(Recognized { content_type, width, height }),
        _ => Err(Failure::NotAPicture),
    }
}

/// Stores a picture. Until it is posted, only its uploader can see it, and after a day it is deleted.
///
/// # Errors
/// [`Failure::Forbidden`] if the user was removed.
pub fn upload(tx: &mut Tx<'_>, me: &str, recognized: &Recognized, bytes: &[u8]) -> Result<Picture, Failure> {
    permissions::user(tx, me)?;
    let Recognized { content_type, width, height } = *recognized;
    let id = ids::new();
    let new =
        NewPicture { id: &id, uploader: me, content_type, width, height, bytes, created_at: clock::now() };
    pictures::insert(tx, &new)?;
    Ok(Picture { id, width, height })
}

/// The type and the bytes of a picture.
///
/// # Errors
/// [`Failure::NotFound`] unless the user uploaded it, or is a member of a room that has it.
pub fn get(tx: &mut Tx<'_>, me: &str, id: &str) -> Result<(String, Vec<u8>), Failure> {
    permissions::user(tx, me)?;
    pictures::find_for(tx, id, me)?.ok_or(Failure::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a PNG of that size.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 6, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_picture_is_what_its_bytes_say() {
        let recognized = recognize(&png(3, 2)).unwrap();
        assert_eq!(recognized, Recognized { content_type: "image/png", width: 3, height: 2 });
        for bytes in
            [b"" as &[u8], b"<svg/>", b"<html>", b"%PDF-1.7", b"BM", b"GIF89a", b"\xff\xd8\xff", &png(0, 2)]
        {
            assert_eq!(recognize(bytes), Err(Failure::NotAPicture), "{bytes:?}");
        }
    }

    #[test]
    fn a_picture_of_too_many_bytes_or_pixels_is_refused() {
        assert_eq!(recognize(&vec![0; BYTES_MAX + 1]), Err(Failure::TooLarge));
        assert_eq!(recognize(&png(10_000, 4_001)), Err(Failure::TooLarge));
        assert_eq!(recognize(&png(u32::MAX, u32::MAX)), Err(Failure::TooLarge));
        assert!(recognize(&png(8_000, 5_000)).is_ok());
    }
}
