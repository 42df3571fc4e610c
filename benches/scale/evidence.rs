//! 1,000 pointers at once, against single verifications in this process: what `evidence verify evidence/` adds to them must be little.

use std::path::Path;
use std::time::{Duration, Instant};

use seatrial::evidence::Pointer;
use seatrial::publish::{Target, publish};
use seatrial::registry::Options;

use crate::registry_server::{Flavour, RegistryServer};
use crate::sample::{Sample, Signed, verify_with};
use crate::{Bounds, median, seatrial, time};

const POINTERS: usize = 1_000;
/// Bundles that the pointers are to: enough that no single one stays in somebody's memory by chance.
const BUNDLES: usize = 20;
/// Single verifications that are timed.
const SINGLES: usize = 200;
const ROUNDS: usize = 3;

pub(crate) fn run(bounds: &mut Bounds) {
    let Some(server) = RegistryServer::start(Flavour::Native) else { return };
    bounds.progress(&format!("{BUNDLES} bundles and {POINTERS} pointers"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let signed = Sample::good().signed();
    let folder = signed.root().join("evidence");
    let paths = runtime.block_on(pointers(&server, &signed, &folder));
    let singles = || {
        let began = Instant::now();
        for path in paths.iter().cycle().take(SINGLES) {
            let verification = runtime.block_on(verify_with(path, signed.key()));
            assert_eq!(verification.exit.code(), 0, "{:#?}", verification.report);
        }
        began.elapsed()
    };
    let all = || {
        let mut command = seatrial();
        command.args(["evidence", "verify", "--plain-http", "--key"]).arg(&signed.public).arg(&folder).env("DOCKER_CONFIG", "/nonexistent");
        time(&mut command)
    };
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(singles());
        times[1].push(all());
    }
    let [single, all] = times.map(|times| median(times).as_secs_f64());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let fair = single * POINTERS as f64 / SINGLES as f64 / cores as f64;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each = single * 1000.0 / SINGLES as f64;
    bounds.seen(&format!("one pointer {each:.2} ms; {POINTERS} pointers {all:.2} s; {fair:.2} s would be fair on {cores} cores"));
    bounds.check(&format!("{POINTERS} pointers, of single ones over cores"), all / fair, 1.2, "×");
}

/// Publishes bundles that differ and writes pointers to them.
async fn pointers(server: &RegistryServer, signed: &Signed, folder: &Path) -> Vec<String> {
    let registry = Options { plain_http: true, docker_config: Some("/nonexistent".into()), ..Options::default() };
    let mut all = Vec::new();
    for number in 0..BUNDLES {
        let mut sample = Sample::good();
        sample.report.run = format!("run-{number}");
        let bundle = signed.root().join(format!("bundle-{number}"));
        seatrial::evidence::directory::write(&sample.bundle(), &bundle).expect("is written");
        let repository = format!("{}/team/evidence", server.address).parse().expect("a name");
        let target =
            Target { repository, tag: None, move_tag: false, registry: registry.clone(), pointers: signed.root().join("published") };
        let published = publish(&bundle, &signed.signer, &target).await.expect("is published");
        let text = std::fs::read_to_string(&published.pointer).expect("is there");
        all.push(Pointer::parse(&text, "pointer").expect("reads"));
    }
    std::fs::create_dir_all(folder.join("sim-h100")).expect("is made");
    (0..POINTERS)
        .map(|number| {
            let path = folder.join("sim-h100").join(format!("{number:04}.yaml"));
            std::fs::write(&path, all[number % BUNDLES].to_yaml().expect("YAML")).expect("is written");
            path.display().to_string()
        })
        .collect()
}
