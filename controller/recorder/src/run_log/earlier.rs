//! Tests of records in earlier formats, which stay readable.

use aegis_core::control::LimitScope;

use super::tests::{PERIODS, header, path, read};
use super::{Ending, Layout, RunReader};

#[test]
fn a_record_of_format_2_is_read_as_before() {
    let path = path("format-2");
    let mut whole = b"AEGSRUN2".to_vec();
    let header = rmp_serde::to_vec_named(&header()).unwrap();
    for frame in [&header[..]].into_iter().chain(PERIODS) {
        whole.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_le_bytes());
        whole.extend_from_slice(frame);
    }
    assert_eq!(read(&path, &whole), Ok((3, Ending::Whole)));
    let limits = RunReader::open(&path).unwrap().header.recipe.settings.limits;
    assert_eq!(limits, LimitScope::UntilCaughtUp, "as that version limited commands");
    let last = (whole.len() - 4 - PERIODS[2].len()) as u64;
    let within = Ok((2, Ending::Within { offset: last }));
    assert_eq!(read(&path, &whole[..whole.len() - 1]), within);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_record_of_format_3_is_read_as_before() {
    let path = path("format-3");
    let mut whole = b"AEGSRUN3".to_vec();
    let mut put = |bytes: &[u8], covered: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        whole.extend_from_slice(&length);
        whole.extend_from_slice(&crc32fast::hash(&[&length[..], covered].concat()).to_le_bytes());
        whole.extend_from_slice(bytes);
    };
    let header = rmp_serde::to_vec_named(&header()).unwrap();
    [&header[..]].into_iter().chain(PERIODS).for_each(|bytes| put(bytes, bytes));
    put(b"", &4_u64.to_le_bytes());
    assert_eq!(read(&path, &whole), Ok((3, Ending::Whole)));
    let reader = RunReader::open(&path).unwrap();
    assert_eq!(
        (reader.layout(), reader.header.recipe.settings.limits),
        (Layout::Checked, LimitScope::Always)
    );
    let end = whole.len() - 8;
    let unmarked = Ending::Unmarked { offset: end as u64 };
    assert_eq!(read(&path, &whole[..end]), Ok((3, unmarked)));
    std::fs::remove_file(&path).unwrap();
}
