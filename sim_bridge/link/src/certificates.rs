//! Checks of the certificates of a key folder: an authority of the folder signed the principal's certificate, the private
//! key belongs to that certificate, and the present time is within every certificate's validity. Pure.

use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::pem::Pem;
use x509_parser::time::ASN1Time;

/// File name of the certificate of the authority that signed both ends' certificates, PEM.
pub const AUTHORITY: &str = "ca.pem";
/// File name of this principal's certificate, PEM.
pub const CERTIFICATE: &str = "certificate.pem";
/// File name of this principal's private key, PKCS #8 in PEM; only the file's owner may read it.
pub const PRIVATE: &str = "private.pem";

/// Remaining validity at or below which a warning is issued, seconds.
const ENDS_SOON: i64 = 24 * 60 * 60;

/// A file of a key folder that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The file's name within the folder.
    pub file: &'static str,
    /// What was found.
    pub found: String,
    /// What is valid.
    pub valid: &'static str,
}

/// A certificate that ends soon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndsSoon {
    /// The file's name within the folder.
    pub file: &'static str,
    /// End of the validity: date and time, UTC.
    pub end: String,
}

/// Checks the contents of a folder's three files at `now`, seconds since 1970; returns the certificates that end soon.
///
/// A key or signature of a kind that this code does not know passes; the TLS handshake checks it.
pub(crate) fn check(
    authority: &[u8],
    certificate: &[u8],
    private: &[u8],
    now: i64,
) -> Result<Vec<EndsSoon>, Fault> {
    let (authorities, chain) = (blocks(AUTHORITY, authority)?, blocks(CERTIFICATE, certificate)?);
    let (authorities, chain) = (parsed(AUTHORITY, &authorities)?, parsed(CERTIFICATE, &chain)?);
    key_belongs(&chain, private)?;
    is_signed(&chain, &authorities)?;
    let all =
        chain.iter().map(|one| (CERTIFICATE, one)).chain(authorities.iter().map(|one| (AUTHORITY, one)));
    let mut soon = Vec::new();
    for (file, one) in all {
        soon.extend(is_current(file, one, now)?);
    }
    Ok(soon)
}

/// Returns the common names of the first certificate of a PEM file, which is the principal's own; empty where that
/// certificate cannot be read.
pub(crate) fn common_names(certificate: &[u8]) -> Vec<String> {
    let chain = blocks(CERTIFICATE, certificate).unwrap_or_default();
    let own = chain.first().and_then(|block| block.parse_x509().ok());
    let names = own.iter().flat_map(|own| own.subject().iter_common_name());
    names.filter_map(|name| name.as_str().ok().map(str::to_owned)).collect()
}

/// Reads the certificates of a PEM file. A file without any certificate is an error.
fn blocks(file: &'static str, pem: &[u8]) -> Result<Vec<Pem>, Fault> {
    let unread = |found: String| Fault { file, found, valid: "a certificate in PEM; `aegis keys` makes one" };
    let mut blocks = Vec::new();
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|error| unread(format!("it cannot be read: {error}")))?;
        if block.label == "CERTIFICATE" {
            blocks.push(block);
        }
    }
    if blocks.is_empty() {
        return Err(unread("it holds no certificate".into()));
    }
    Ok(blocks)
}

fn parsed<'a>(file: &'static str, blocks: &'a [Pem]) -> Result<Vec<X509Certificate<'a>>, Fault> {
    let unread = |error: x509_parser::nom::Err<X509Error>| Fault {
        file,
        found: format!("it holds no X.509 certificate: {error}"),
        valid: "a certificate in PEM; `aegis keys` makes one",
    };
    blocks.iter().map(|block| block.parse_x509().map_err(unread)).collect()
}

/// Checks that the private key belongs to the first certificate, which is the principal's own.
fn key_belongs(chain: &[X509Certificate<'_>], private: &[u8]) -> Result<(), Fault> {
    let text = String::from_utf8_lossy(private);
    let (Ok(key), Some(own)) = (rcgen::KeyPair::from_pem(&text), chain.first()) else { return Ok(()) };
    if *key.public_key_raw() == own.public_key().subject_public_key.data[..] {
        return Ok(());
    }
    Err(Fault {
        file: PRIVATE,
        found: format!("it is not the key of {CERTIFICATE}"),
        valid: "both files of one folder of `aegis keys`",
    })
}

/// Checks that one of the authorities signed the last certificate of the chain, or is that certificate itself.
fn is_signed(chain: &[X509Certificate<'_>], authorities: &[X509Certificate<'_>]) -> Result<(), Fault> {
    let Some(last) = chain.last() else { return Ok(()) };
    let vouches = |authority: &X509Certificate<'_>| {
        let named = authority.subject().as_raw() == last.issuer().as_raw();
        let signed = last.verify_signature(Some(authority.public_key()));
        let contradicted = matches!(signed, Err(X509Error::SignatureVerificationError));
        authority.as_raw() == last.as_raw() || (named && !contradicted)
    };
    if authorities.iter().any(vouches) {
        return Ok(());
    }
    let found = format!(
        "{AUTHORITY} does not vouch for it: its issuer is \"{}\", and no authority there of that name signed it",
        last.issuer()
    );
    Err(Fault {
        file: CERTIFICATE,
        found,
        valid: "a certificate that the authority in ca.pem signed; `aegis keys` makes one",
    })
}

/// Checks that `now` is within a certificate's validity; returns the certificate's end where it is soon.
fn is_current(
    file: &'static str,
    certificate: &X509Certificate<'_>,
    now: i64,
) -> Result<Option<EndsSoon>, Fault> {
    let dates = certificate.validity();
    let (begin, end) = (dates.not_before.timestamp(), dates.not_after.timestamp());
    if now > end {
        return Err(Fault {
            file,
            found: format!("the certificate expired at {}, and it is {}", utc(end), utc(now)),
            valid: "a certificate that has not ended; `aegis keys` makes a new one",
        });
    }
    if now < begin {
        return Err(Fault {
            file,
            found: format!(
                "the certificate begins at {}, and by this machine's clock it is {}",
                utc(begin),
                utc(now)
            ),
            valid: "a certificate that has begun; set the clock, or `aegis keys` makes a new one",
        });
    }
    Ok((end - now <= ENDS_SOON).then(|| EndsSoon { file, end: utc(end) }))
}

/// Formats seconds since 1970 as a date and time to the minute, in UTC.
fn utc(seconds: i64) -> String {
    let Ok(time) = ASN1Time::from_timestamp(seconds) else { return format!("{seconds} s after 1970") };
    let time = time.to_datetime();
    let (month, day) = (u8::from(time.month()), time.day());
    format!("{:04}-{month:02}-{day:02} {:02}:{:02} UTC", time.year(), time.hour(), time.minute())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    const DAY: i64 = 24 * 60 * 60;
    /// 2027-01-01 00:00 UTC, seconds since 1970: the end of the certificates of these tests. They begin one year before.
    const END: i64 = 1_798_761_600;
    const BEGIN: i64 = END - 365 * DAY;
    const NOW: i64 = END - 100 * DAY;

    /// Contents of the three files of a principal's folder.
    struct Folder {
        authority: String,
        certificate: String,
        private: String,
    }

    impl Folder {
        fn check(&self, now: i64) -> Result<Vec<EndsSoon>, Fault> {
            check(self.authority.as_bytes(), self.certificate.as_bytes(), self.private.as_bytes(), now)
        }
    }

    /// Returns the parameters of a certificate that is valid from the first day of one year to the first day of another.
    fn parameters(name: &str, years: [i32; 2]) -> CertificateParams {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        [parameters.not_before, parameters.not_after] = years.map(|year| date_time_ymd(year, 1, 1));
        parameters
    }

    fn authority(years: [i32; 2]) -> (String, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = parameters("an authority", years);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let pem = parameters.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(parameters, key))
    }

    fn folder_of(authority: &str, issuer: &Issuer<'_, KeyPair>, years: [i32; 2]) -> Folder {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters("plant", years).signed_by(&key, issuer).unwrap().pem();
        Folder { authority: authority.into(), certificate, private: key.serialize_pem() }
    }

    fn folder() -> Folder {
        let (pem, issuer) = authority([2020, 2040]);
        folder_of(&pem, &issuer, [2026, 2027])
    }

    #[track_caller]
    fn refuses(folder: &Folder, now: i64, file: &str, words: &[&str]) {
        let Fault { file: at, found, valid } = folder.check(now).unwrap_err();
        assert_eq!(at, file, "{found}");
        for word in words {
            assert!(
                found.contains(word) || valid.contains(word),
                "{word:?} is missing from: {found}; {valid}"
            );
        }
    }

    #[test]
    fn a_whole_folder_passes_until_its_last_day_is_warned_of() {
        let folder = folder();
        assert_eq!(folder.check(NOW), Ok(Vec::new()));
        assert_eq!(folder.check(END - DAY - 1), Ok(Vec::new()));
        let soon = vec![EndsSoon { file: CERTIFICATE, end: "2027-01-01 00:00 UTC".into() }];
        assert_eq!(folder.check(END - DAY), Ok(soon.clone()));
        assert_eq!(folder.check(END), Ok(soon));
        assert_eq!(folder.check(BEGIN), Ok(Vec::new()));
    }

    #[test]
    fn a_certificate_that_has_expired_or_has_not_begun_says_when_and_what_to_do() {
        let folder = folder();
        refuses(
            &folder,
            END + 90 * 60,
            CERTIFICATE,
            &["expired at 2027-01-01 00:00 UTC", "it is 2027-01-01 01:30 UTC", "aegis keys"],
        );
        refuses(
            &folder,
            BEGIN - 1,
            CERTIFICATE,
            &["begins at 2026-01-01 00:00 UTC", "2025-12-31 23:59 UTC", "set the clock"],
        );
    }

    #[test]
    fn an_authority_that_has_expired_or_ends_soon_is_named() {
        let (pem, issuer) = authority([2020, 2027]);
        let folder = folder_of(&pem, &issuer, [2026, 2030]);
        refuses(&folder, END + 1, AUTHORITY, &["expired at 2027-01-01 00:00 UTC"]);
        let soon = vec![EndsSoon { file: AUTHORITY, end: "2027-01-01 00:00 UTC".into() }];
        assert_eq!(folder.check(END - 1), Ok(soon));
    }

    #[test]
    fn a_certificate_of_another_authority_of_the_same_name_is_found_out() {
        let mixed = Folder { authority: authority([2020, 2040]).0, ..folder() };
        refuses(&mixed, NOW, CERTIFICATE, &["ca.pem does not vouch", "CN=an authority", "aegis keys"]);
        // The authority file may hold several authorities; one that signed is enough.
        let own = folder();
        let both = Folder { authority: format!("{}{}", mixed.authority, own.authority), ..own };
        assert_eq!(both.check(NOW), Ok(Vec::new()));
    }

    #[test]
    fn a_key_of_another_certificate_is_found_out_and_one_of_another_kind_is_left_to_the_handshake() {
        let mixed = Folder { private: KeyPair::generate().unwrap().serialize_pem(), ..folder() };
        refuses(&mixed, NOW, PRIVATE, &["not the key of certificate.pem", "aegis keys"]);
        let private = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n".into();
        assert_eq!(Folder { private, ..folder() }.check(NOW), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        for text in [
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
        ] {
            refuses(&Folder { certificate: text.into(), ..folder() }, NOW, CERTIFICATE, &["aegis keys"]);
            refuses(&Folder { authority: text.into(), ..folder() }, NOW, AUTHORITY, &["aegis keys"]);
        }
    }
}
