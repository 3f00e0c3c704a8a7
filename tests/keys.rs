//! Tests `aegis keys`, and the checks of the keys that are given for an endpoint.
//! Runs the binary; no test opens a connection.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::path::{Path, PathBuf};

use aegis_link::{Credentials, Principal};

/// TOML of a position channel in a robot file.
const CHANNEL: &str =
    "{ kind = \"position\", low = -3, high = 3, velocity = 0.05, acceleration = 0.02, jerk = 0.01 }";

#[test]
fn keys_are_private_are_never_replaced_and_further_ones_can_be_added() {
    use std::os::unix::fs::PermissionsExt;
    let folder = common::folder("security-keys");
    let keys = folder.join("keys");
    common::make_keys(&keys);
    let files = |folder: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(
        files(&keys),
        ["ca.key", "ca.pem", "controller", "operator", "plant", "policy", "watchdog", "watcher"]
    );
    for private in ["ca.key", "plant/private.pem", "watcher/private.pem"] {
        assert_eq!(keys.join(private).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{private}");
    }
    let slashed = PathBuf::from(format!("{}/", folder.join("slashed").display()));
    common::make_keys(&slashed);
    assert_eq!((files(&slashed), files(&folder)), (files(&keys), vec!["keys".into(), "slashed".into()]));
    let before = std::fs::read(keys.join("plant/private.pem")).unwrap();
    common::refuses(
        &mut common::keys_command(&keys),
        2,
        &[keys.to_str().unwrap(), "exists", "never replaced"],
    );
    common::refuses(common::keys_command(&keys).args(["--add", "plant"]), 2, &["plant", "exists"]);
    assert_eq!(std::fs::read(keys.join("plant/private.pem")).unwrap(), before);

    let added = common::keys_command(&keys).args(["--add", "watcher", "--plant", "arm"]).output().unwrap();
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    assert!(Credentials::open(&keys.join("watcher.arm")).is_ok());
    common::refuses(
        common::keys_command(&folder.join("none")).args(["--add", "plant"]),
        2,
        &["ca.pem", "aegis keys"],
    );
    let never = folder.join("never");
    for (arguments, words) in [
        (["--host", "a b"], ["--host: found a b", "valid is"]),
        (["--host", "robot.local:7447"], ["--host: found robot.local:7447", "without a port"]),
        (["--plant", "a/b"], ["a/b", "valid is 1 to 64"]),
        (["--days", "0"], ["--days", "1..=3650"]),
        (["--add", "admin"], ["admin", "controller"]),
    ] {
        common::refuses(common::keys_command(&never).args(arguments), 2, &words);
    }
    // A file has the name of the folder's parent: the error names the path, and no partial output stays.
    std::fs::write(folder.join("file"), "").unwrap();
    common::refuses(&mut common::keys_command(&folder.join("file/keys")), 1, &["file/keys", "cannot write"]);
    assert_eq!(files(&folder), ["file", "keys", "slashed"]);
}

#[test]
fn keys_that_cannot_be_used_and_lines_without_any_are_refused_before_anything_is_loaded() {
    let folder = common::folder("security-refused");
    let keys = folder.join("keys");
    common::make_keys(&keys);
    let serve = |listen: &str, keys: Option<&Path>| {
        let mut command = common::aegis();
        command.args(["sim", "serve", "--listen", listen]);
        command.args(keys.into_iter().flat_map(|keys| [Path::new("--keys"), keys]));
        command
    };
    common::refuses(&mut serve("tls/0.0.0.0:0", None), 2, &["tls/0.0.0.0:0", "aegis keys", "--keys FOLDER"]);
    common::refuses(
        &mut serve("tcp/0.0.0.0:0", None),
        2,
        &["tls/", "aegis keys", "--allow-plaintext-network"],
    );
    let plant = keys.join("plant");
    common::refuses(&mut serve("tcp/127.0.0.1:0", Some(&plant)), 2, &["plain TCP uses no keys"]);
    common::refuses(&mut serve("tls/127.0.0.1:0", Some(&keys)), 2, &["certificate.pem", "aegis keys"]);
    let private = plant.join("private.pem");
    common::mode(&private, 0o644);
    common::refuses(&mut serve("tls/127.0.0.1:0", Some(&plant)), 2, &["private.pem", "0644", "0600"]);
    common::mode(&private, 0o600);
    let own = std::fs::read(&private).unwrap();
    std::fs::copy(keys.join("policy/private.pem"), &private).unwrap();
    common::refuses(
        &mut serve("tls/127.0.0.1:0", Some(&plant)),
        2,
        &["private.pem", "not the key of certificate.pem"],
    );
    std::fs::write(&private, own).unwrap();
    let authority = std::fs::read(plant.join("ca.pem")).unwrap();
    common::make_keys(&folder.join("others"));
    std::fs::copy(folder.join("others/ca.pem"), plant.join("ca.pem")).unwrap();
    common::refuses(
        &mut serve("tls/127.0.0.1:0", Some(&plant)),
        2,
        &["plant/certificate.pem", "ca.pem does not vouch for it", "aegis keys"],
    );
    std::fs::write(plant.join("ca.pem"), authority).unwrap();
    std::fs::write(&private, "nothing").unwrap();
    common::refuses(&mut serve("tls/127.0.0.1:0", Some(&plant)), 2, &["private.pem", "7 bytes", "PEM"]);
    // A certificate that is valid for one day causes a warning from the beginning.
    let brief = folder.join("brief");
    common::succeeds(common::keys_command(&brief).args(["--days", "1"]));
    common::refuses(
        &mut serve("tcp/127.0.0.1:0", Some(&brief.join("plant"))),
        2,
        &["warning: ", "brief/plant/certificate.pem: the certificate ends at ", " UTC", "aegis keys"],
    );
    let mut demo = common::aegis();
    demo.args(["demo", "--connect", "tcp/192.0.2.1:7447", "--plant", "p", "--out"]).arg(folder.join("never"));
    common::refuses(&mut demo, 2, &["192.0.2.1", "tls/", "--allow-plaintext-network"]);
}

#[test]
fn keys_of_another_party_or_another_plant_are_refused_with_whose_they_are_and_whose_are_needed() {
    let folder = common::folder("security-whose");
    let keys = folder.join("keys");
    common::make_keys(&keys);
    for (party, plant) in [("controller", "arm"), ("controller", "other")] {
        common::succeeds(common::keys_command(&keys).args(["--add", party, "--plant", plant]));
    }
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for party in Principal::ALL {
        for (file, of) in Principal::ALL
            .map(|of| (of.name(), of))
            .into_iter()
            .chain([("controller.arm", Principal::Controller)])
        {
            let found = Credentials::open(&keys.join(file)).unwrap();
            assert_eq!(found.are_of(party, &names(&["arm"])).is_ok(), party == of, "{file} for {party:?}");
        }
    }
    let one = Credentials::open(&keys.join("controller.arm")).unwrap();
    assert!(one.are_of(Principal::Controller, &names(&["arm", "other"])).is_err(), "it drives one of them");

    // No process listens at this endpoint: each command is refused before it tries to connect.
    let nowhere = "tls/127.0.0.1:1";
    let verb = |arguments: &[&str], party: &str| {
        let mut command = common::aegis();
        command.args(arguments).arg("--keys").arg(keys.join(party));
        command
    };
    let run = crate::foreign::robot_file(&folder, nowhere, CHANNEL, "0.1, 0.2, 0.3, 0.4, 0.5, 0.6", 0.1);
    let drive = ["demo", "--episodes", "1", "--connect", nowhere, "--plant", "arm"];
    let operate = ["operate", "stop", "--connect", nowhere, "--plant", "arm"];
    let policy = ["serve-policy", "card.toml", "--connect", nowhere, "--plant", "arm"];
    let serve = ["sim", "serve", "--listen", nowhere, "--name", "arm"];
    for (arguments, party, needed) in [
        (&drive[..], "watcher", "\"controller\" or \"controller.arm\""),
        (&drive, "controller.other", "\"controller\" or \"controller.arm\""),
        (&operate, "controller", "\"operator\" or \"operator.arm\""),
        (&policy, "operator", "\"policy\" or \"policy.arm\""),
        (&serve, "policy", "\"plant\" or \"plant.arm\""),
    ] {
        let found = format!("{party}/certificate.pem: its common name is \"{party}\"; valid is {needed}");
        common::refuses(&mut verb(arguments, party), 2, &[&found, "`aegis keys`"]);
    }
    let named = format!("plant = \"foreign\"\nkeys = {:?}", keys.join("plant"));
    common::edit(&run, "plant = \"foreign\"", &named);
    let words =
        ["plant/certificate.pem: its common name is \"plant\"", "\"controller\" or \"controller.foreign\""];
    common::refuses(&mut crate::robot::command(&run, &folder.join("run")), 2, &words);
}
