//! Pictures of rows: files of PNG or JPEG, which are stored byte for byte, and decoded for a check and for statistics only.

use std::io::Cursor;
use std::sync::Arc;

use image::codecs::jpeg::JpegDecoder;
use image::{ColorType, ImageDecoder};

/// First bytes of a PNG file.
const PNG: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
/// Bytes of a pixel.
const COLOURS: usize = 3;

/// A camera's picture in a row.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The picture as a file of PNG or JPEG, red, green and blue of 8 bits each. Rows with the same picture share it.
    pub data: Arc<Vec<u8>>,
    /// Time from the picture to the row's observation, seconds on the plant's clock.
    pub age: f64,
}

/// Returns height and width of a picture, by its header.
///
/// # Errors
/// Bytes that are no such picture, in words.
pub fn size(data: &[u8]) -> Result<[usize; 2], String> {
    if data.starts_with(&PNG) {
        let reader = png::Decoder::new(Cursor::new(data)).read_info().map_err(|error| error.to_string())?;
        let info = reader.info();
        if (info.color_type, info.bit_depth) != (png::ColorType::Rgb, png::BitDepth::Eight) {
            let found = format!("found a PNG file of {:?}, {:?}", info.color_type, info.bit_depth);
            return Err(format!("{found}; valid is red, green and blue of 8 bits"));
        }
        return Ok([info.height as usize, info.width as usize]);
    }
    let decoder = JpegDecoder::new(Cursor::new(data)).map_err(|error| error.to_string())?;
    if decoder.color_type() != ColorType::Rgb8 {
        let found = decoder.color_type();
        return Err(format!("found a JPEG file of {found:?}; valid is red, green and blue of 8 bits"));
    }
    let (width, height) = decoder.dimensions();
    Ok([height as usize, width as usize])
}

/// Returns a picture's pixels, `[height, width, 3]`.
///
/// # Errors
/// Bytes that are no picture of this size, in words.
pub fn pixels(data: &[u8], [height, width]: [usize; 2]) -> Result<Vec<u8>, String> {
    let found = size(data)?;
    if found != [height, width] {
        let [rows, columns] = found;
        return Err(format!("found {rows} rows of {columns} pixels; valid is {height} rows of {width}"));
    }
    let mut rgb = vec![0; height * width * COLOURS];
    if data.starts_with(&PNG) {
        let mut reader =
            png::Decoder::new(Cursor::new(data)).read_info().map_err(|error| error.to_string())?;
        reader.next_frame(&mut rgb).map_err(|error| error.to_string())?;
    } else {
        let decoder = JpegDecoder::new(Cursor::new(data)).map_err(|error| error.to_string())?;
        decoder.read_image(&mut rgb).map_err(|error| error.to_string())?;
    }
    Ok(rgb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_recorder::pictures::png_of;
    use image::ExtendedColorType;
    use image::codecs::jpeg::JpegEncoder;

    #[test]
    fn pictures_of_both_formats_are_read_and_others_are_refused() {
        let rgb: Vec<u8> = (0..4 * 6 * 3).map(|index| index as u8 * 3).collect();
        let png = png_of([6, 4], &rgb).unwrap();
        assert_eq!((size(&png), pixels(&png, [4, 6])), (Ok([4, 6]), Ok(rgb.clone())));
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, 95).encode(&rgb, 6, 4, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(size(&jpeg), Ok([4, 6]));
        assert_eq!(pixels(&jpeg, [4, 6]).unwrap().len(), rgb.len());
        assert!(pixels(&png, [6, 4]).unwrap_err().contains("found 4 rows of 6 pixels; valid is 6 rows of 4"));
        let mut grey = Vec::new();
        JpegEncoder::new(&mut grey).encode(&[7; 24], 6, 4, ExtendedColorType::L8).unwrap();
        assert!(size(&grey).unwrap_err().contains("valid is red, green and blue"));
        for broken in [&b"no picture"[..], &png[..20], &[]] {
            assert!(size(broken).is_err(), "{broken:?}");
        }
        assert!(pixels(&png[..png.len() - 30], [4, 6]).is_err());
    }
}
