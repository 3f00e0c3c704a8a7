//! Pictures in the form that a model reads: rotated, mirrored, resized, as bytes or as numbers from 0 to 1.

use aegis_core::{Frame, PolicyError};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{PixelType, ResizeOptions, Resizer};

use crate::binding::Binding;
use crate::inputs::{ImageInput, PixelLayout, Resize, Rotation};

/// Largest value of a colour.
const FULL: f64 = 255.0;

/// Advice for a plant without pictures.
const NO_PICTURES: &str = "the plant sends no pictures: `aegis sim serve` draws them with --pictures HxW, and a plant in Python needs \
                           camera(\"NAME\", HEIGHT, WIDTH) among its features and, to be driven in real time, a method `new_frames`, or \
                           in lock-step a method `frames` (aegis_plant.py)";

/// Filler of one image input, with its scratch space.
#[derive(Debug)]
pub(crate) struct Picture {
    spec: ImageInput,
    as_bytes: bool,
    /// Picture of the tensor's size, row-major `[height, width, 3]`.
    sized: Vec<u8>,
    /// Bytes in the tensor's order.
    ordered: Vec<u8>,
}

impl Picture {
    /// Makes a filler of a tensor of bytes or of numbers.
    pub fn new(spec: &ImageInput, as_bytes: bool) -> Self {
        Self { spec: spec.clone(), as_bytes, sized: Vec::new(), ordered: Vec::new() }
    }

    /// Fills the tensor from the picture of the card's camera.
    ///
    /// # Errors
    /// [`PolicyError`] where the picture is missing, or has another size and the card allows no resizing.
    pub fn fill(&mut self, binding: &mut Binding, input: usize, frames: &[Frame]) -> Result<(), PolicyError> {
        let frame = picture_of(&self.spec.camera, frames)?;
        let is_plain = self.spec.layout == PixelLayout::Hwc
            && self.spec.rotate == Rotation::None
            && !self.spec.flip
            && (frame.height, frame.width) == (self.spec.height, self.spec.width);
        if is_plain && self.as_bytes {
            return binding.copy(input, &frame.rgb);
        }
        self.arrange(frame)?;
        if self.as_bytes {
            return binding.copy(input, &self.ordered);
        }
        let (mean, std) = (self.spec.mean.unwrap_or([0.0; 3]), self.spec.std.unwrap_or([1.0; 3]));
        let plane = self.ordered.len() / 3;
        let is_chw = self.spec.layout == PixelLayout::Chw;
        let numbers = self.ordered.iter().enumerate().map(|(index, byte)| {
            let colour = if is_chw { index / plane } else { index % 3 };
            (f64::from(*byte) / FULL - mean[colour]) / std[colour]
        });
        binding.write(input, numbers)
    }

    /// Returns the picture of the card's camera as bytes, in the tensor's size and order.
    ///
    /// # Errors
    /// As [`fill`](Self::fill).
    pub fn bytes(&mut self, frames: &[Frame]) -> Result<&[u8], PolicyError> {
        self.arrange(picture_of(&self.spec.camera, frames)?)?;
        Ok(&self.ordered)
    }

    /// Converts a picture to the tensor's size and order, into `ordered`.
    fn arrange(&mut self, frame: &Frame) -> Result<(), PolicyError> {
        let ImageInput { camera, height, width, layout, rotate, flip, resize, .. } = &self.spec;
        if (frame.height, frame.width) == (*height, *width) {
            self.sized.clone_from(&frame.rgb);
        } else if *resize == Resize::Exact {
            return Err(PolicyError::Shape {
                what: format!("picture of camera {camera}"),
                expected: format!("{width}×{height} pixels"),
                found: format!("{}×{} pixels", frame.width, frame.height),
            });
        } else {
            resized(frame, [*height, *width], *resize == Resize::Pad, &mut self.sized)
                .map_err(|error| PolicyError::Observation(format!("picture of camera {camera}: {error}")))?;
        }
        let (rows, columns) = (*height as usize, *width as usize);
        self.ordered.resize(rows * columns * 3, 0);
        for row in 0..rows {
            for column in 0..columns {
                // A turn by 180° reverses both axes; the mirror, after it, reverses the columns.
                let half = *rotate == Rotation::Half;
                let from_row = if half { rows - 1 - row } else { row };
                let from_column = if half != *flip { columns - 1 - column } else { column };
                let from = (from_row * columns + from_column) * 3;
                for colour in 0..3 {
                    let to = match layout {
                        PixelLayout::Hwc => (row * columns + column) * 3 + colour,
                        PixelLayout::Chw => (colour * rows + row) * columns + column,
                    };
                    self.ordered[to] = self.sized[from + colour];
                }
            }
        }
        Ok(())
    }
}

/// Resizes a picture by bilinear convolution, as Pillow's `BILINEAR` does. With `pad`, both axes have one factor, and the result is
/// centred in a black picture.
fn resized(frame: &Frame, [height, width]: [u32; 2], pad: bool, out: &mut Vec<u8>) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let source = ImageRef::new(frame.width, frame.height, &frame.rgb, PixelType::U8x3)
        .map_err(|error| said(&error))?;
    let (inner_height, inner_width) = if pad {
        let factor =
            f64::min(f64::from(height) / f64::from(frame.height), f64::from(width) / f64::from(frame.width));
        let side = |length: u32, most: u32| ((f64::from(length) * factor).round() as u32).clamp(1, most);
        (side(frame.height, height), side(frame.width, width))
    } else {
        (height, width)
    };
    let mut inner = Image::new(inner_width, inner_height, PixelType::U8x3);
    let bilinear = fast_image_resize::ResizeAlg::Convolution(fast_image_resize::FilterType::Bilinear);
    let options = ResizeOptions::new().resize_alg(bilinear);
    Resizer::new().resize(&source, &mut inner, &options).map_err(|error| said(&error))?;
    out.clear();
    out.resize((height * width * 3) as usize, 0);
    let (top, left) = ((height - inner_height) / 2, (width - inner_width) / 2);
    for (row, pixels) in inner.buffer().chunks_exact(inner_width as usize * 3).enumerate() {
        let begin = ((top as usize + row) * width as usize + left as usize) * 3;
        out[begin..begin + pixels.len()].copy_from_slice(pixels);
    }
    Ok(())
}

/// Returns the picture of a camera.
///
/// # Errors
/// [`PolicyError::Observation`] where it is missing, with the cameras of the observation.
pub(crate) fn picture_of<'a>(camera: &str, frames: &'a [Frame]) -> Result<&'a Frame, PolicyError> {
    frames.iter().find(|frame| *frame.camera == *camera).ok_or_else(|| {
        let seen = frames.iter().map(|frame| &*frame.camera).collect::<Vec<_>>().join(", ");
        let shows = if seen.is_empty() { NO_PICTURES.into() } else { format!("the plant sends {seen}") };
        PolicyError::Observation(format!("the picture of camera {camera} is missing; {shows}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(height: u32, width: u32) -> ImageInput {
        ImageInput::exact("eye", "eye", height, width)
    }

    /// Returns a picture of 2 rows and 3 columns whose red counts the pixels.
    fn frame() -> Frame {
        let rgb = (0..6_u8).flat_map(|pixel| [pixel, 100, 200]).collect();
        Frame { camera: "eye".into(), width: 3, height: 2, rgb }
    }

    fn reds(spec: &ImageInput) -> Vec<u8> {
        let mut picture = Picture::new(spec, true);
        picture.arrange(&frame()).unwrap();
        match spec.layout {
            PixelLayout::Hwc => picture.ordered.iter().copied().step_by(3).collect(),
            PixelLayout::Chw => picture.ordered[..6].to_vec(),
        }
    }

    #[test]
    fn a_plant_without_pictures_has_another_error_than_one_with_other_cameras() {
        let said = |frames: &[Frame]| picture_of("wrist", frames).unwrap_err().to_string();
        assert!(said(&[frame()]).ends_with("the picture of camera wrist is missing; the plant sends eye"));
        let error = said(&[]);
        for part in ["the plant sends no pictures", "--pictures HxW", "camera(", "frames"] {
            assert!(error.contains(part), "{part} is missing from {error}");
        }
    }

    #[test]
    fn a_picture_is_rotated_then_mirrored_and_its_axes_are_ordered() {
        assert_eq!(reds(&spec(2, 3)), [0, 1, 2, 3, 4, 5]);
        assert_eq!(reds(&ImageInput { rotate: Rotation::Half, ..spec(2, 3) }), [5, 4, 3, 2, 1, 0]);
        assert_eq!(reds(&ImageInput { flip: true, ..spec(2, 3) }), [2, 1, 0, 5, 4, 3]);
        let both = ImageInput { rotate: Rotation::Half, flip: true, ..spec(2, 3) };
        assert_eq!(reds(&both), [3, 4, 5, 0, 1, 2], "upside down");
        assert_eq!(reds(&ImageInput { layout: PixelLayout::Chw, ..spec(2, 3) }), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn another_size_is_refused_stretched_or_padded() {
        let mut exact = Picture::new(&spec(4, 4), true);
        let error = exact.arrange(&frame()).unwrap_err().to_string();
        assert!(error.contains("picture of camera eye: found 3×2 pixels; valid is 4×4 pixels"), "{error}");
        let mut padded = Picture::new(&ImageInput { resize: Resize::Pad, ..spec(6, 6) }, true);
        padded.arrange(&frame()).unwrap();
        let greens: Vec<u8> = padded.ordered.iter().copied().skip(1).step_by(3).collect();
        assert!(greens[..6].iter().chain(&greens[30..]).all(|green| *green == 0), "black above and below");
        assert!(greens[6..30].iter().all(|green| *green == 100), "{greens:?}");
        let mut stretched = Picture::new(&ImageInput { resize: Resize::EachAxis, ..spec(6, 6) }, true);
        stretched.arrange(&frame()).unwrap();
        assert!(stretched.ordered.iter().skip(1).step_by(3).all(|green| *green == 100));
    }
}
