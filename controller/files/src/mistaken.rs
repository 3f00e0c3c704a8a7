//! Recognition of files that are not of the expected kind: a Git LFS pointer, a page of a web server, a file of another
//! format. The functions are pure and read only the first bytes.

/// UTF-8 byte-order mark, which editors of some systems put before the text.
pub(crate) const MARK: &[u8] = b"\xef\xbb\xbf";

/// Beginnings of placeholder files, each with what the placeholder is and how to get the file itself.
const NEVER_WANTED: [(&[&[u8]], &str); 3] = [
    (
        &[b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/"],
        "a Git LFS pointer stands in the file's place: run `git lfs pull` there, or download the file itself",
    ),
    (
        &[b"<!doctype html", b"<html", b"<head", b"<body"],
        "an HTML page stands in the file's place, as a download without its login or with the address of a page saves \
         it: download the file itself",
    ),
    (
        &[b"<?xml", b"<error>"],
        "an XML answer stands in the file's place, as a file server sends it with an error: download the file itself",
    ),
];

/// Kinds of files, by their first bytes.
const KINDS: [(&[u8], &str); 13] = [
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip file, to be unpacked first"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file, to be unpacked first"),
    (b"PK\x03\x04", "a ZIP file, as `torch.save` and `numpy.savez` write it"),
    (b"\x80\x02", "a pickle of Python, as an old `torch.save` writes it"),
    (b"\x80\x04", "a pickle of Python"),
    (b"RRF2", "a Rerun recording"),
    (b"\x89PNG", "a PNG picture"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"\x7fELF", "a program or a library"),
    (b"%PDF", "a PDF document"),
];

/// First names in the archives of office programs: Excel's and Word's, and those of OpenDocument.
const OFFICE: [&[u8]; 5] =
    [b"[Content_Types].xml", b"_rels/", b"docProps/", b"xl/", b"mimetypeapplication/vnd.oasis"];

/// Number of first bytes that must be printable for a file to count as text.
const TEXT: usize = 256;

/// Returns the description of a placeholder that no reader can use: an empty file, a Git LFS pointer, or a web page; `None` for
/// any other bytes.
pub fn never_wanted(bytes: &[u8]) -> Option<&'static str> {
    let text = without_mark(bytes).trim_ascii_start();
    if text.is_empty() {
        return Some("the file is empty: write or download it again");
    }
    let begins =
        |start: &&[u8]| text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start));
    let found = NEVER_WANTED.iter().find(|(starts, _)| starts.iter().any(&begins));
    found.map(|(_, what)| *what)
}

/// Returns the kind of a file that begins with these bytes, where it is known. For a reader that has failed to read the
/// file as the expected kind.
pub fn kind(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"PK\x03\x04")
        && OFFICE.iter().any(|name| bytes.get(30..).is_some_and(|rest| rest.starts_with(name)))
    {
        return Some("a document of an office program: save its table as CSV of UTF-8");
    }
    if let Some((_, what)) = KINDS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(what);
    }
    let text = without_mark(bytes).trim_ascii_start();
    let object = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    if object.is_some_and(|object| object.starts_with(b"\"")) {
        return Some("JSON text");
    }
    let first = &text[..text.len().min(TEXT)];
    let printed = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    (!first.is_empty() && first.iter().all(printed)).then_some("text")
}

/// Returns the bytes without a leading byte-order mark.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_named_with_what_to_do() {
        for (bytes, said) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 131072\n"[..],
                "git lfs pull",
            ),
            (b"\n <!DOCTYPE HTML><title>Sign in</title>", "HTML page"),
            (b"<html lang=en>", "HTML page"),
            (b"\xef\xbb\xbf<html>", "HTML page"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML answer"),
            (b"", "empty"),
            (b"\xef\xbb\xbf \r\n", "empty"),
        ] {
            assert!(never_wanted(bytes).is_some_and(|what| what.contains(said)), "{said}");
        }
        for bytes in
            [&b"\x08\x0b\x12\x07pytorch"[..], b"suite = \"libero\"", b"{\"schema\": 2}", b"PAR1", b"<"]
        {
            assert_eq!(never_wanted(bytes), None);
        }
    }

    #[test]
    fn a_file_of_another_kind_is_known_by_its_first_bytes() {
        assert_eq!(kind(b"PAR1\x15\x04"), Some("a Parquet file"));
        assert!(kind(b"PK\x03\x04\x14").is_some_and(|kind| kind.contains("torch.save")));
        assert_eq!(kind(b"{ \"schema\": 2 }"), Some("JSON text"));
        assert_eq!(kind(b"suite = \"libero\"\n"), Some("text"));
        assert_eq!(kind(b"\x08\x0b\x12\x07pytorch"), None);
        assert_eq!(kind(b""), None);
    }
}
