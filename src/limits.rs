//! Every timeout, retry and byte limit, each with its reason. Nothing else in the crate spells such a number.

use std::time::Duration;

/// One request to a Sigstore service: a log answers once it has published a checkpoint, which takes seconds.
pub const SIGSTORE_REQUEST: Duration = Duration::from_secs(60);
/// Fetching a trusted root by TUF: some five small files, one after the other.
pub const TRUST_UPDATE: Duration = Duration::from_secs(120);
/// Somebody logs in: finding the second factor takes a minute or two. Less than the step that signs has, which is 300 s.
pub const LOGIN: Duration = Duration::from_secs(240);
/// What an issuer answers; real ones' descriptions of themselves and tokens have 1 to 4 KB.
pub const LOGIN_ANSWER_BYTES: usize = 256 << 10;
/// The request with which a browser comes back; cookies of other services on this machine come with it.
pub const LOGIN_REQUEST_BYTES: usize = 64 << 10;
/// Connections to the port on which a browser comes back; browsers open up to six beforehand.
pub const LOGIN_CONNECTIONS: usize = 32;
/// A command that signs: somebody may have to touch a token.
pub const SIGNER_COMMAND: Duration = Duration::from_secs(180);
/// What a command that signs may write; a signature of the largest kind in use, in base64, has some 6 KB.
pub const SIGNER_OUTPUT_BYTES: u64 = 64 << 10;
/// Memory to open a key in cosign's form; cosign's own take 64 MiB.
pub const KEY_MEMORY: u64 = 256 << 20;

/// A file that we parse whole (recipe, workflow, pointer, policy, chainsaw test): 1 MiB holds any real one, many times over.
pub const DOCUMENT_BYTES: u64 = 1 << 20;
/// A snapshot: 10,000 nodes with 8 GPUs each are about 60 MB.
pub const SNAPSHOT_BYTES: u64 = 256 << 20;
/// Files in one folder of recipe data of one's own: the largest collection of overlays that is known has 160.
pub const DATA_FILES: usize = 2000;
/// Nodes of a YAML document; aliases count each time they are expanded, so an alias bomb ends here.
pub const YAML_NODES: usize = 200_000;
/// Texts of a YAML document together, each alias counted: one long text and many aliases end here.
pub const YAML_TEXT: usize = 16 << 20;
/// Nodes of a snapshot, keys and values each; in JSON, texts. 10,000 nodes with 8 GPUs each have three million.
pub const SNAPSHOT_NODES: usize = 6_000_000;
/// The most memory that the program takes while it reads a document of so many bytes, whatever is in it: its own, the text and what it
/// says, and what keys and values of a few bytes take beside their text. A usual snapshot takes less than six times its bytes.
#[must_use]
pub const fn reading_memory(bytes: u64) -> u64 {
    let nodes = if bytes / 4 < SNAPSHOT_NODES as u64 { bytes / 4 } else { SNAPSHOT_NODES as u64 };
    (64 << 20) + 6 * bytes + 300 * nodes
}
/// Nesting of a YAML document: a level takes up to 34 KB of a thread's 2 MiB of stack in a debug build, where each is a key of the one
/// around it; a CRD, the deepest thing that people write, nests some 30.
pub const YAML_DEPTH: usize = 48;

/// One run of a machine's own tool: nvidia-smi takes some seconds for each of eight GPUs where no daemon keeps the driver awake.
pub const TOOL: Duration = Duration::from_secs(60);
/// What a tool may say: nvidia-smi writes some 30 KB a GPU.
pub const TOOL_BYTES: u64 = 8 << 20;
/// One file of `/proc` or `/sys`; the longest that we read, the list of modules, has some 20 KB.
pub const FACT_BYTES: u64 = 1 << 20;
/// A secret for pseudonyms: with less, they could be guessed.
pub const REDACT_KEY_BYTES: usize = 16;
/// Kernel settings of one machine; real ones have 1,000 to 3,000.
pub const SYSCTLS: usize = 20_000;
/// Nesting of directories below the root for kernel settings; the deepest has six.
pub const SYSCTL_DEPTH: usize = 12;
/// Links that are followed one after another, as the kernel limits them, and less.
pub const LINKS: usize = 8;
/// Nesting of a tool's XML; nvidia-smi's has five.
pub const XML_DEPTH: usize = 32;

/// One request to the API server. kube-apiserver itself gives up after 60 s.
pub const API_REQUEST: Duration = Duration::from_secs(30);
/// Connecting to any server: a reachable one answers in far less, an unreachable one would otherwise take minutes.
pub const CONNECT: Duration = Duration::from_secs(10);
/// Items per page of a list; the API server's own clients use 500.
pub const API_PAGE: u32 = 500;
/// Tries of one read that fails in a transient way (429, 5xx, cut connection), the first included.
pub const API_TRIES: usize = 4;
/// The shortest wait between two tries; it doubles, with jitter.
pub const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest wait between two tries.
pub const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How long a server that we read a document from may keep silent.
pub const WEB_SILENCE: Duration = Duration::from_secs(15);
/// Reading one document over https, tries and redirects included: a snapshot of 60 MB takes a minute at 8 Mbit/s.
pub const WEB_READ: Duration = Duration::from_secs(120);
/// Tries of one document over https that fails in a transient way.
pub const WEB_TRIES: usize = 3;
/// Redirects followed for one document: a release file takes two or three.
pub const WEB_REDIRECTS: usize = 5;
/// What a ConfigMap can hold, keys and all: the API server refuses more.
pub const CONFIG_MAP_BYTES: usize = 1 << 20;

/// How long a run's Lease lives without being renewed; three missed renewals.
pub const LEASE: Duration = Duration::from_secs(30);
/// How long removal of what we created may take before we say what is left: a namespace with finalizers takes seconds.
pub const CLEANUP: Duration = Duration::from_secs(60);
/// How long the cluster must look settled before set-up calls it so.
pub const SETTLE_DWELL: Duration = Duration::from_secs(2);

/// How long an autoscaler may take to make a node for a pending pod, or to remove an empty one: Karpenter with kwok takes 5 and 35 s.
pub const SETUP_NODE: Duration = Duration::from_secs(150);

/// How long `sim up` may take unless told otherwise: 10 s are usual, an overloaded machine takes five times that.
pub const SIM_UP: Duration = Duration::from_secs(120);
/// How often the processes of a simulated cluster are looked at while it starts or ends; nothing announces their end.
pub const SIM_LOOK: Duration = Duration::from_millis(50);
/// How long a killed process may take to be gone, and a cut-off `sim up` to tear down by itself.
pub const SIM_END: Duration = Duration::from_secs(20);
/// Tries of a start whose free ports were taken by someone else between choosing and using them.
pub const SIM_TRIES: usize = 3;
/// Lines of a component's log that an error shows.
pub const SIM_LOG_LINES: usize = 8;
/// Characters of such a line.
pub const SIM_LOG_COLUMNS: usize = 300;
/// One file of what a controller's makers install: the largest, Kueue's kind of workloads, has 1.4 MB.
pub const SIM_MANIFEST_BYTES: u64 = 8 << 20;
/// Nodes written at a time when a simulated cluster is loaded: faster than one by one, and no burst.
pub const SIM_WRITES: usize = 8;

/// One blob or manifest request to a registry, from the first byte to the last of a 4 MiB chunk on a slow line.
pub const REGISTRY_READ: Duration = Duration::from_secs(60);
/// Redirects followed for one blob: an object store behind a registry is one, a signed address in front of it two.
pub const REGISTRY_REDIRECTS: usize = 5;
/// Tries of one idempotent registry request that fails in a transient way.
pub const REGISTRY_TRIES: usize = 4;
/// The longest Retry-After that we honour.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// How often a line on a terminal says how far a transfer has come.
pub const PROGRESS_LIVE: Duration = Duration::from_millis(100);
/// How often a line in a log does.
pub const PROGRESS_LINE: Duration = Duration::from_secs(10);
/// The piece in which a blob is uploaded that could not be sent in one: the largest that every big registry takes.
pub const REGISTRY_CHUNK: usize = 4 << 20;
/// What is read of a file at a time while it is sent: enough that calls cost little, and it stays in a processor's cache.
pub const REGISTRY_PIECE: usize = 64 << 10;
/// What we read of a registry's error or token answer; real ones have a few hundred bytes.
pub const REGISTRY_ANSWER_BYTES: u64 = 64 << 10;
/// Times that our entry must be seen in a row in a list of referrers kept in a tag, before we call it written: registries have no
/// compare-and-swap for tags, so another writer who read the tag before our write may still overwrite it.
pub const REFERRER_SIGHTINGS: usize = 3;
/// Looks at a list of referrers, writes of our entry between them, before we give up: about 10 s, as some registries list with a delay.
pub const REFERRER_TRIES: usize = 30;
/// Pages of a list of referrers.
pub const REFERRER_PAGES: usize = 64;
/// A manifest, as registries themselves limit it.
pub const MANIFEST_BYTES: u64 = 4 << 20;
/// A Sigstore bundle; real ones have 5 to 20 KB.
pub const SIGNATURE_BYTES: u64 = 10 << 20;
/// What is kept in memory of a git repository's objects while two trees are compared.
pub const GIT_CACHE_BYTES: usize = 4 << 20;
/// The name of a ref, or an expression for a commit: git's own refs are file names.
pub const GIT_NAME_BYTES: usize = 255;
/// One directory of a git tree: 100,000 pointers in one folder are 11 MB.
pub const GIT_TREE_BYTES: u64 = 32 << 20;
/// Entries below one directory of a tree that the gate looks at: pointers of ten years, or recipe data, with their folders.
pub const GATE_ENTRIES: usize = 100_000;
/// Nesting of directories below it: pointers have two levels, health files of recipes three.
pub const GATE_DEPTH: usize = 8;
/// A path in the repository that is looked at.
pub const GATE_PATH_BYTES: usize = 512;
/// Pointers that one change may bring: a month of daily runs, side by side on six clusters.
pub const GATE_POINTERS: usize = 200;
/// Other changes under the directory of evidence that a report lists.
pub const GATE_FILES: usize = 200;
/// Recipe data of one tree, all files together; what ships has 100 KB.
pub const GATE_DATA_BYTES: usize = 16 << 20;
/// How long the gate may take to verify, all pointers of a change together, unless told otherwise.
pub const GATE: Duration = Duration::from_secs(600);
/// The longest that may be asked for.
pub const GATE_LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Pointers of one recipe that are read from the tree to see whether they are about what it asks now; the newest names say nothing of
/// time, so all are read, and more than these are told instead.
pub const GATE_RECIPE_POINTERS: usize = 5000;
/// Pointers verified at once: ten years of a daily run on 20 clusters.
pub const POINTERS: usize = 100_000;
/// Nesting of directories of pointers; ours have one level.
pub const POINTER_DEPTH: usize = 4;
/// Pointers verified side by side at least, also on a small machine: most of the time a registry is waited for.
pub const POINTERS_PARALLEL: usize = 4;
/// How far the clocks of a cluster and of a timestamp authority may be apart: machines that keep time at all are within seconds.
pub const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);
/// Signatures looked at for one artifact; more would be a way to make verification slow.
pub const SIGNATURES: usize = 64;
/// One file of a bundle.
pub const BUNDLE_FILE_BYTES: u64 = 256 << 20;
/// All files of a bundle.
pub const BUNDLE_BYTES: u64 = 1 << 30;
/// What is kept in memory of an artifact while a bundle is moved; larger ones are read piece by piece.
pub const HELD_BYTES: u64 = 256 << 10;
/// What is read or written of a file at a time while it is hashed or copied.
pub const COPY_PIECE: usize = 128 << 10;
/// Blobs of fetched bundles that are kept on disk between runs; what was not used for longest goes first.
pub const CACHE_BYTES: u64 = 1 << 30;
/// Documents of fetched bundles that are kept in memory within a run.
pub const CACHED_BYTES: usize = 32 << 20;
/// Fetched bundles that are kept in memory within a run.
pub const CACHED_BUNDLES: usize = 1000;
/// Number of files in a bundle; ours have tens.
pub const BUNDLE_FILES: usize = 1000;
/// Manifests in an OCI layout: a bundle, its signatures, and whatever else somebody attached to it.
pub const LAYOUT_MANIFESTS: usize = 4 * SIGNATURES;
/// Entries of a packed layout: the files of a bundle, two for each manifest beside it, and a few that say what it is.
pub const LAYOUT_ENTRIES: usize = BUNDLE_FILES + 2 * LAYOUT_MANIFESTS + 16;
/// All files of a packed layout.
pub const LAYOUT_BYTES: u64 = BUNDLE_BYTES + SIGNATURES as u64 * SIGNATURE_BYTES;
/// Length of a path in a bundle.
pub const BUNDLE_PATH: usize = 255;

/// Bytes of diagnostics kept for one failed check.
pub const DIAGNOSTICS_BYTES: usize = 256 << 10;

/// How long a pod may take from creation to running: scheduling takes seconds, an image pull of a small image a few more.
pub const POD_RUNNING: Duration = Duration::from_secs(30);
/// How long a gang may take from creation to being placed: schedulers work in cycles of a second, webhooks and queues add a few.
pub const GANG_PLACED: Duration = Duration::from_secs(30);
/// How long no pod of a gang that does not fit may hold a GPU: ten cycles of a gang scheduler, each of which would place some if it could.
pub const GANG_DWELL: Duration = Duration::from_secs(10);
/// How long an operator may take to take an object up: seconds are usual, and one that was restarted first waits out a lease of 15 s.
pub const RECONCILED: Duration = Duration::from_secs(60);
/// How long a killed controller may take to be back: its image is on the node, its readiness is probed every 10 s or so.
pub const CONTROLLER_BACK: Duration = Duration::from_secs(120);
/// How long a controller may take to say that a queue of ours is usable.
pub const QUEUE_READY: Duration = Duration::from_secs(20);
/// How long an allocation may outlive its pod before it counts as leaked.
pub const GPU_RELEASE: Duration = Duration::from_secs(30);
/// How long a run waits for another run's GPUs.
pub const GPU_LOCK: Duration = Duration::from_secs(600);
/// How long one operation of a health test waits where the file does not say: chainsaw's own default for `assert` and `error`.
pub const HEALTH_OPERATION: Duration = Duration::from_secs(30);
/// The longest that one operation of a health test may wait: a driver build on a slow node takes half of it.
pub const HEALTH_OPERATION_MAX: Duration = Duration::from_secs(3600);
/// Bytes of one JMESPath expression; real ones have less than 200.
pub const EXPRESSION_BYTES: usize = 4096;
/// Iterations nested in one JMESPath expression; more only multiplies work.
pub const EXPRESSION_ITERATIONS: usize = 4;
/// Copies of a value that an expression may make; real ones make fewer than ten, and each pipe multiplies them.
pub const EXPRESSION_COPIES: usize = 64;
/// Bytes of text that a function of an expression may make; a certificate or a configuration file has less than a tenth.
pub const EXPRESSION_TEXT_BYTES: usize = 1 << 20;
/// Bytes that a compiled regular expression of a health test may take; usual ones take some kilobytes.
pub const EXPRESSION_REGEX_BYTES: usize = 1 << 20;
/// Bytes of all bindings that one operation of a health test knows, as JSON; a list of names and versions has less than one thousand.
pub const HEALTH_BINDING_BYTES: usize = 64 << 10;
/// Operations of one health test; the largest that was seen has fifty.
pub const HEALTH_OPERATIONS: usize = 500;
/// Diagnostics that one health test may ask for; the files that were seen have two or three.
pub const HEALTH_DIAGNOSTICS: usize = 20;
/// Objects that one diagnostic keeps; the first ones tell the story.
pub const HEALTH_DIAGNOSTIC_OBJECTS: usize = 20;
/// How long one diagnostic may read: it explains a verdict that stands already.
pub const HEALTH_DIAGNOSTIC: Duration = Duration::from_secs(10);
/// Lines at the end of a container's log that a diagnostic keeps where the file does not say: what `kubectl logs` has with a selector.
pub const HEALTH_LOG_LINES: usize = 10;
/// Bytes of a container's log that a diagnostic reads.
pub const HEALTH_LOG_BYTES: u64 = 256 << 10;
/// Mismatches of one operation that a message names; all of them are in the artifacts.
pub const MISMATCHES_TOLD: usize = 10;
/// Comparisons made for one object and one assertion tree: a full node or pod takes some hundreds.
pub const ASSERTION_STEPS: usize = 20_000;
/// Deviations kept for one health operation; the first ones tell the story.
pub const VIOLATIONS: usize = 50;
/// Characters of a value quoted in a message; the whole one is in the artifacts.
pub const QUOTED_CHARS: usize = 120;

/// One HTTP request to a port of a pod, from the first byte to the last: an exporter of eight GPUs takes 50 ms, one that starts seconds.
pub const FORWARD_REQUEST: Duration = Duration::from_secs(15);
/// What a port of a pod may answer: metrics of 8 GPUs have 50 KB, of 16 GPUs in 7 partitions with labels of pods 2 MB.
pub const FORWARD_BYTES: usize = 16 << 20;
/// How long kubelet's word on why a port cannot be reached may come after the connection ended: they are sent together.
pub const FORWARD_WORDS: Duration = Duration::from_secs(1);

/// Reading the log of one container: 16 MiB on a slow line.
pub const LOG_READ: Duration = Duration::from_secs(60);
/// How long a pod that looks at its node may take, from creation to end: an image of 15 MB is pulled, tools that hang are given up after seconds.
pub const NODE_FACTS: Duration = Duration::from_secs(120);
/// Nodes that are asked at a time: a thousand nodes take some ten minutes, and their registry has ten pulls at a time.
pub const NODE_FACTS_PARALLEL: usize = 10;
/// Bytes of one piece of facts in a log: as base64 half of the 16 KiB at which container runtimes split a line.
pub const FACTS_PIECE: usize = 6 << 10;
/// Pieces of the facts of one node: 24 MiB; a machine with 8 GPUs and 1,500 kernel settings has about 100 KiB.
pub const FACTS_PIECES: usize = 4096;
/// What is read of a log that holds facts: all pieces in their base64 form, and room for other lines.
pub const FACTS_LOG_BYTES: u64 = 40 << 20;

/// How long the values of a GPU may stand still: DCGM exporter reads them every 30 s unless told otherwise, so a scrape after this long
/// has read them anew.
pub const METRICS_WINDOW: Duration = Duration::from_secs(45);
/// The first wait between two looks at an exporter; it doubles.
pub const METRICS_LOOK_MIN: Duration = Duration::from_secs(1);
/// The longest wait between two looks.
pub const METRICS_LOOK_MAX: Duration = Duration::from_secs(15);
/// How old the time may be that an exporter gives with a value: two of its readings and a slow clock.
pub const METRIC_AGE: jiff::SignedDuration = jiff::SignedDuration::from_secs(120);
/// Exporters asked at a time: each takes a connection through the API server.
pub const EXPORTERS_PARALLEL: usize = 16;

/// How long a Prometheus that has just started may have no target that is up: many scrape every half minute.
pub const TARGETS_UP: Duration = Duration::from_secs(45);
/// How long Prometheus may take from the last request to the count of it: its operator writes its configuration anew within two minutes,
/// and many scrape once a minute.
pub const SERVICE_METRICS: Duration = Duration::from_secs(240);
/// How long a pod with a small image may take from creation to running, where its node has not pulled the image yet.
pub const ERRAND_RUNNING: Duration = Duration::from_secs(60);
/// How long a container may take to list devices, once it runs.
pub const ERRAND_WORDS: Duration = Duration::from_secs(20);

/// How long a cluster must stay as it is to be at rest: node controllers look every 5 s, so two of their rounds.
pub const CONVERGENCE_DWELL: Duration = Duration::from_secs(10);
/// The longest wait for a cluster to come to rest.
pub const CONVERGENCE: Duration = Duration::from_secs(180);
/// How often a cluster that comes to rest is looked at.
pub const CONVERGENCE_LOOK: Duration = Duration::from_secs(1);

/// The longest wait from a pending pod until it runs on a node that an autoscaler added: clouds take 3 to 8 minutes for a GPU node with its
/// drivers.
pub const NODE_ADDED: Duration = Duration::from_secs(600);
/// The longest wait for an empty node to go: cluster-autoscaler leaves it for 10 minutes by default, and looks every 10 s.
pub const NODE_REMOVED: Duration = Duration::from_secs(900);
/// How long a new node must stay while a pod runs on it, and a pool must stay as it was after it has gone: one that flaps does so within
/// the 10 s in which autoscalers look again.
pub const NODE_DWELL: Duration = Duration::from_secs(12);

/// The longest wait from a change of the load until the number of pods follows: an adapter reads Prometheus every 30 s, which scrapes every
/// 15 to 30 s, and the autoscaler looks every 15 s.
pub const SCALING_WINDOW: Duration = Duration::from_secs(180);
/// How long the number of pods must stay while the load stays: three looks of the autoscaler.
pub const SCALING_HOLD: Duration = Duration::from_secs(45);

/// How long a registry is asked whether it has an image, before a run: more would be noticed.
pub const IMAGE_ASKED: Duration = Duration::from_secs(5);

/// One answer of GitHub's API.
pub const GITHUB_ANSWER: Duration = Duration::from_secs(30);
/// Requests to GitHub's API until one of them is answered.
pub const GITHUB_TRIES: usize = 4;
/// The longest that a rate limit of GitHub is waited for; jobs that wait longer only hold a runner.
pub const GITHUB_WAIT: Duration = Duration::from_secs(60);
/// Pages of 100 that are read of one list: more reviews or comments than people write.
pub const GITHUB_PAGES: usize = 50;
/// The event's file; those of pull requests have some 30 KiB.
pub const GITHUB_EVENT_BYTES: u64 = 16 << 20;
/// Bytes of a comment and of a check run's texts; GitHub takes 65,535.
pub const GITHUB_TEXT_BYTES: usize = 65_000;
/// Annotations that GitHub takes with one request.
pub const GITHUB_ANNOTATIONS: usize = 50;
/// Annotations of one gate; more are in the report.
pub const GITHUB_ANNOTATIONS_MOST: usize = 500;
/// Files of one commit that is made through the API.
pub const GITHUB_OFFERED_FILES: usize = 100;
/// Bytes of a step's summary; GitHub takes 1 MiB of all steps.
pub const GITHUB_SUMMARY_BYTES: usize = 500_000;
