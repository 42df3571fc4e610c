//! Evidence in OCI layouts: packed, verified as it is, unpacked, read by oras, and hostile ones.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use seatrial::digest::Digest;
use seatrial::error::Kind;
use seatrial::evidence::{Layout, SIGNATURE, oci};
use seatrial::publish::{Target, pack, publish};
use seatrial::registry::Options;
use serde_json::{Value, json};

use crate::registry_server::{Flavour, RegistryServer, program};
use crate::sample::{Sample, Signed, ended, verify_with};

fn options() -> Options {
    Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() }
}

async fn ends(input: &Path, signed: &Signed) -> (String, u8) {
    ended(&verify_with(&input.display().to_string(), signed.key()).await)
}

async fn packed(signed: &Signed, name: &str) -> std::path::PathBuf {
    let source = pack::read(&signed.bundle().display().to_string(), &options(), None).await.expect("reads");
    let to = signed.root().join(name);
    pack::pack(&source, &to).expect("is packed");
    to
}

#[tokio::test]
async fn evidence_is_packed_from_everywhere_verified_as_it_is_and_unpacked() {
    let Some(server) = RegistryServer::start(Flavour::NoReferrers) else { return };
    let signed = Sample::good().signed();
    let reference = format!("{}/team/evidence", server.address);
    let target = Target::new(reference.parse().expect("a name"), options(), signed.root().join("evidence"));
    let published = publish(&signed.bundle(), &signed.signer, &target).await.expect("is published");
    let second = Sample::good().signed();
    publish(&second.bundle(), &second.signer, &target).await.expect("is published");

    let inputs = [published.pointer.display().to_string(), format!("oci://{reference}@{}", published.digest)];
    let mut bytes = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let source = pack::read(input, &options(), None).await.expect("reads");
        for name in [format!("{number}.tar"), format!("{number}-folder")] {
            let to = signed.root().join(name);
            let moved = pack::pack(&source, &to).expect("is packed");
            assert_eq!((moved.digest, moved.signatures, moved.left), (published.digest.clone(), 2, 0));
            assert_eq!(ends(&to, &signed).await, (String::new(), 0), "{}", to.display());
            assert_eq!(ends(&to, &second).await, (String::new(), 0), "{}", to.display());
            let stranger = Sample::good().signed();
            assert_eq!(ends(&to, &stranger).await, ("identity".to_owned(), 11));
            assert_eq!(pack::pack(&source, &to).expect_err("nothing is overwritten").kind(), Kind::Usage);

            let again = pack::read(&to.display().to_string(), &options(), None).await.expect("reads");
            let out = to.with_extension("out");
            let moved = pack::unpack(&again, &out).expect("is unpacked");
            assert_eq!((moved.signatures, moved.left), (1, 1), "a directory has room for one");
            let found = seatrial::evidence::directory::read(&out).expect("reads");
            assert_eq!(found.files, *Sample::good().bundle().files());
            assert!(found.signature.is_some());
            pack::unpack(&again, &out).expect("the same again changes nothing");
        }
        bytes.push(std::fs::read(signed.root().join(format!("{number}.tar"))).expect("is there"));
    }
    assert_eq!(bytes[0].len(), bytes[1].len());
    let again = signed.root().join("again.tar");
    pack::pack(&pack::read(&inputs[0], &options(), None).await.expect("reads"), &again).expect("is packed");
    assert!(std::fs::read(again).expect("is there") == bytes[0], "the same evidence is the same file");
}

#[tokio::test]
async fn an_unsigned_bundle_is_packed_and_stays_unsigned() {
    let signed = Signed::unsigned(&Sample::good().bundle());
    for name in ["a.tar", "a"] {
        assert_eq!(ends(&packed(&signed, name).await, &signed).await, ("signature".to_owned(), 10));
    }
}

/// Runs oras with its state in a folder of its own.
fn oras(program: &Path, folder: &Path, arguments: &[&str]) {
    let run = Command::new(program).args(arguments).current_dir(folder).env("HOME", folder).output().expect("oras runs");
    assert!(run.status.success(), "oras {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
}

#[tokio::test]
async fn oras_carries_our_layouts_into_a_registry_and_makes_layouts_that_we_verify() {
    let Some(oras_program) = &program("oras") else { return };
    for flavour in [Flavour::Native, Flavour::NoReferrers, Flavour::Docker] {
        let Some(server) = RegistryServer::start(flavour) else { continue };
        let signed = Sample::good().signed();
        let folder = packed(&signed, "layout").await;
        packed(&signed, "layout.tar").await;
        let layout = Layout::open(&folder).expect("opens");
        let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).expect("is there")).expect("JSON");
        let tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"].as_str().expect("a tag");
        for (number, from) in ["layout", "layout.tar"].into_iter().enumerate() {
            let from = format!("{from}:{tag}");
            let repository = format!("{}/team/evidence{number}", server.address);
            let to = format!("{repository}:{tag}");
            oras(oras_program, signed.root(), &["copy", "-r", "--from-oci-layout", &from, "--to-plain-http", &to]);
            let input = format!("oci://{repository}@{}", layout.digest());
            assert_eq!(ended(&verify_with(&input, signed.key()).await), (String::new(), 0), "{flavour:?} {from}");

            let back = format!("back{number}");
            oras(oras_program, signed.root(), &["copy", "-r", "--from-plain-http", &to, "--to-oci-layout", &format!("{back}:{tag}")]);
            assert_eq!(ends(&signed.root().join(&back), &signed).await, (String::new(), 0), "{flavour:?} {back}");
            let tar = format!("{back}.tar");
            let made = Command::new("tar").args(["-cf", &tar, "-C", &back, "."]).current_dir(signed.root()).status().expect("tar runs");
            assert!(made.success());
            assert_eq!(ends(&signed.root().join(&tar), &signed).await, (String::new(), 0), "{flavour:?} {tar}");
        }
    }
}

/// The entries of a good layout, for making bad ones of.
fn entries(tar: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(std::fs::File::open(tar).expect("opens"));
    let read = |entry: std::io::Result<tar::Entry<std::fs::File>>| {
        let mut entry = entry.expect("an entry");
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("reads");
        (entry.path().expect("a path").display().to_string(), bytes)
    };
    archive.entries().expect("entries").map(read).collect()
}

fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    // Set by hand: the library refuses names that lead outside.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn write_tar(to: &Path, entries: &[(String, Vec<u8>)], more: &[(tar::Header, Vec<u8>)]) {
    let mut file = std::fs::File::create(to).expect("is made");
    let plain = entries.iter().map(|(name, bytes)| (header(name, tar::EntryType::Regular, bytes.len() as u64), bytes.clone()));
    for (header, bytes) in plain.chain(more.iter().cloned()) {
        file.write_all(header.as_bytes()).expect("is written");
        file.write_all(&bytes).expect("is written");
        file.write_all(&vec![0; bytes.len().next_multiple_of(512) - bytes.len()]).expect("is written");
    }
    file.write_all(&[0; 1024]).expect("is written");
}

#[tokio::test]
async fn a_hostile_tar_file_is_refused_and_nothing_of_it_is_written() {
    let signed = Sample::good().signed();
    let good = entries(&packed(&signed, "good.tar").await);
    let bad = signed.root().join("bad.tar");
    write_tar(&bad, &good, &[]);
    assert_eq!(ends(&bad, &signed).await, (String::new(), 0), "the way it is made is right");

    use tar::EntryType;
    let linked = |kind, name: &str, to: &str| {
        let mut header = header(name, kind, 0);
        header.set_link_name(to).expect("a link");
        header.set_cksum();
        (header, Vec::new())
    };
    let plain = |name: &str| (header(name, EntryType::Regular, 1), b"x".to_vec());
    let blob = format!("blobs/sha256/{}", Digest::of(b"x").hex());
    let hostile = [
        ("a symbolic link", linked(EntryType::Symlink, &blob, "/etc/passwd")),
        ("a symbolic link as a folder", linked(EntryType::Symlink, "blobs", "/etc")),
        ("a hard link", linked(EntryType::Link, &blob, "index.json")),
        ("a character device", (header(&blob, EntryType::Char, 0), Vec::new())),
        ("a block device", (header(&blob, EntryType::Block, 0), Vec::new())),
        ("a pipe", (header(&blob, EntryType::Fifo, 0), Vec::new())),
        ("a long name", (header("././@LongLink", EntryType::GNULongName, 4), b"abc\0".to_vec())),
        ("an extension", (header("pax", EntryType::XHeader, 18), b"18 path=index.json".to_vec())),
        ("extensions of all", (header("pax", EntryType::XGlobalHeader, 18), b"18 path=index.json".to_vec())),
        ("a sparse file", (header(&blob, EntryType::GNUSparse, 1), b"x".to_vec())),
        ("a duplicate", plain("index.json")),
        ("a duplicate in disguise", plain("./index.json")),
        ("another case", plain("INDEX.JSON")),
        ("a blob in upper case", plain(&blob.to_uppercase())),
        ("an absolute path", plain("/index.json")),
        ("a way up", plain("../index.json")),
        ("a way up within", plain("blobs/sha256/../../x")),
        ("something else", plain("README.md")),
        ("a folder that is not ours", (header("etc/", EntryType::Directory, 0), Vec::new())),
        ("more than there is", (header(&blob, EntryType::Regular, 1 << 20), b"x".to_vec())),
        ("more than there can be", (header(&blob, EntryType::Regular, (1 << 33) - 1), b"x".to_vec())),
    ];
    let before = std::fs::read_dir(signed.root()).expect("a folder").count();
    for (what, entry) in hostile {
        write_tar(&bad, &good, &[entry]);
        let ended = ends(&bad, &signed).await;
        assert!(ended.0 == "locate" && [21, 22].contains(&ended.1), "{what}: {ended:?}");
        let error = pack::read(&bad.display().to_string(), &options(), None).await.expect_err(what);
        assert!(matches!(error.kind(), Kind::Integrity | Kind::Schema), "{what}: {}", error.chain());
    }
    let crowd: Vec<_> = (0..10_000_u32).map(|number| plain(&format!("blobs/sha256/{}", Digest::of(&number.to_le_bytes()).hex()))).collect();
    write_tar(&bad, &good, &crowd);
    assert_eq!(ends(&bad, &signed).await, ("locate".to_owned(), 21), "ten thousand entries");
    assert_eq!(std::fs::read_dir(signed.root()).expect("a folder").count(), before);
}

#[tokio::test]
async fn every_changed_blob_of_a_layout_is_found_and_a_lost_signature_is_no_secret() {
    let signed = Sample::good().signed();
    let good = entries(&packed(&signed, "good.tar").await);
    let bad = signed.root().join("bad.tar");
    let signature = Digest::of(&std::fs::read(signed.bundle().join(SIGNATURE)).expect("is there"));
    let empty = format!("blobs/sha256/{}", Digest::of(oci::EMPTY).hex());
    for number in 0..good.len() {
        let name = &good[number].0;
        let (mut changed, mut without) = (good.clone(), good.clone());
        if let Some(byte) = changed[number].1.last_mut() {
            *byte ^= 1;
        }
        without.remove(number);
        for entries in [changed, without] {
            write_tar(&bad, &entries, &[]);
            let ended = ends(&bad, &signed).await;
            // Nobody reads the empty config; all else is read and compared.
            let expected = if *name == empty { ended.1 == 0 } else { [10, 20, 21, 22].contains(&ended.1) };
            assert!(expected, "{name}: {ended:?}");
            if name.ends_with(signature.hex()) {
                assert_ne!(ended.1, 0);
            }
        }
    }
}

/// Changes a layout in a directory.
type Spoil<'a> = &'a dyn Fn(&Path);

#[tokio::test]
async fn a_hostile_folder_is_refused() {
    let signed = Sample::good().signed();
    let artifact = Sample::good().bundle().artifact().expect("a manifest").digest;
    let blob = |folder: &Path| folder.join("blobs/sha256").join(artifact.hex());
    let spoil: [(&str, Spoil); 6] = [
        ("a linked blob", &|folder| {
            std::fs::rename(blob(folder), folder.join("moved")).expect("is moved");
            std::os::unix::fs::symlink(folder.join("moved"), blob(folder)).expect("is made");
        }),
        ("a linked folder of blobs", &|folder| {
            std::fs::rename(folder.join("blobs"), folder.join("moved")).expect("is moved");
            std::os::unix::fs::symlink(folder.join("moved"), folder.join("blobs")).expect("is made");
        }),
        ("a pipe", &|folder| {
            std::fs::remove_file(blob(folder)).expect("is removed");
            rustix::fs::mknodat(rustix::fs::CWD, blob(folder), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("a pipe");
        }),
        ("a missing blob", &|folder| std::fs::remove_file(blob(folder)).expect("is removed")),
        ("another blob", &|folder| std::fs::write(blob(folder), "{}").expect("is written")),
        ("two bundles", &|folder| {
            let other = Sample::good().without("platform-health").bundle().artifact().expect("a manifest");
            std::fs::write(folder.join("blobs/sha256").join(other.digest.hex()), &other.bytes).expect("is written");
            let path = folder.join("index.json");
            let mut index: Value = serde_json::from_slice(&std::fs::read(&path).expect("is there")).expect("JSON");
            let entry = json!({"mediaType": oci::MANIFEST_TYPE, "digest": other.digest, "size": other.bytes.len()});
            index["manifests"].as_array_mut().expect("a list").push(entry);
            std::fs::write(path, index.to_string()).expect("is written");
        }),
    ];
    for (what, spoil) in spoil {
        let folder = packed(&signed, &what.replace(' ', "-")).await;
        assert_eq!(ends(&folder, &signed).await, (String::new(), 0));
        spoil(&folder);
        let ended = ends(&folder, &signed).await;
        assert!(ended.0 == "locate" && [21, 22].contains(&ended.1), "{what}: {ended:?}");
    }
}

/// The commands of docs/evidence-transport.md, one section after the other, each with a new key and a new bundle.
#[tokio::test]
async fn the_commands_of_the_documentation_run() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/evidence-transport.md")).expect("is there");
    let blocks: Vec<&str> = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 4, "a block for each way");
    for (number, block) in blocks.into_iter().enumerate() {
        let Some(server) = RegistryServer::start(Flavour::Native) else { return };
        let signed = Sample::good().signed();
        let folder = signed.root().join("work");
        std::fs::create_dir_all(folder.join("out")).expect("is made");
        std::fs::create_dir_all(folder.join("keys")).expect("is made");
        if number > 0 {
            for name in ["seatrial.key", "seatrial.pub"] {
                std::fs::copy(signed.root().join(name), folder.join("keys").join(name)).expect("is copied");
            }
        }
        std::fs::rename(signed.bundle(), folder.join("out/bundle")).expect("is moved");
        if number < 3 {
            std::fs::remove_file(folder.join("out/bundle").join(SIGNATURE)).expect("is removed");
        }
        let script = block.replace("ghcr.io/example", &format!("{}/example", server.address));
        let program = Path::new(env!("CARGO_BIN_EXE_seatrial")).parent().expect("a folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let run = Command::new("sh")
            .args(["-euc", &script])
            .current_dir(&folder)
            .env_clear()
            .envs([("PATH", path.as_str()), ("SEATRIAL_PLAIN_HTTP", "true")])
            .env("HOME", &folder)
            .output()
            .expect("a shell runs");
        assert!(run.status.success(), "{script}\n{}", String::from_utf8_lossy(&run.stderr));
    }
}
