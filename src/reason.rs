//! Why evidence is not accepted, as one public table: each reason has an id that stays, and decides the exit code.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// Makes the enum and its tables from two lists, so that no reason can miss its meaning, and none of the gate's what to do about it.
macro_rules! reasons {
    (
        evidence { $($name:ident $id:literal $exit:ident $meaning:literal)* }
        gate { $($gate:ident $gate_id:literal $gate_exit:ident $gate_meaning:literal $act:literal)* }
    ) => {
        /// Why evidence, or a change to it, is not accepted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Reason {
            $(
                #[doc = $meaning]
                #[serde(rename = $id)]
                $name,
            )*
            $(
                #[doc = $gate_meaning]
                #[serde(rename = $gate_id)]
                $gate,
            )*
        }

        impl Reason {
            /// Every reason about a piece of evidence, in the order of the stages that find it.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Every reason about a change, which only the gate finds.
            pub const GATE: &'static [Self] = &[$(Self::$gate),*];

            /// The id, as in reports.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* $(Self::$gate => $gate_id),* }
            }

            /// The exit code of a command that it decides.
            #[must_use]
            pub fn exit(self) -> Exit {
                match self { $(Self::$name => Exit::$exit,)* $(Self::$gate => Exit::$gate_exit),* }
            }

            /// What it says, in one sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* $(Self::$gate => $gate_meaning),* }
            }

            /// What a contributor can do about a change that is refused for it.
            #[must_use]
            pub fn act(self) -> &'static str {
                match self { $(Self::$gate => $act,)* _ => of_evidence(self) }
            }
        }
    };
}

reasons! {
    evidence {
        Usage "usage" Usage "the input is not there, or is asked for wrongly"
        Denied "denied" Denied "the registry wants credentials, or others"
        Timeout "timeout" Timeout "a deadline passed"
        Unavailable "unavailable" Unavailable "a server cannot be reached"
        Interrupted "interrupted" Interrupted "SIGINT or SIGTERM"
        Undecided "undecided" Inconclusive "it could not be told"
        PointerInvalid "pointer-invalid" Schema "the file is not a pointer"
        PointerMisnamed "pointer-misnamed" Integrity "the pointer's file name is not the digest of its bundle"
        RegistryNotListed "registry-not-listed" Policy "the policy does not list the registry; it was not asked"
        NotEvidence "not-evidence" Schema "what the reference names is not a bundle"
        TransferDiffers "transfer-differs" Integrity "what was read is not what its digest or its size says, or is more than a bundle may hold"
        Unsigned "unsigned" Unsigned "there is no signature"
        SignatureWithheld "signature-withheld" Unsigned "the pointer names signatures, and the registry has none of them"
        SignatureMalformed "signature-malformed" Schema "no signature is a Sigstore bundle of a test result"
        SignatureWrong "signature-wrong" Signature "a signature does not hold"
        SignerUnknown "signer-unknown" Policy "nobody whom the policy names made a signature"
        SignerLooksAlike "signer-looks-alike" Policy "the signer's name could be taken for one of the policy's, and is another"
        OtherIssuer "other-issuer" Policy "the signer's name is vouched for by another issuer"
        OtherIdentity "other-identity" Policy "the repository is right, and another workflow signed"
        OtherSource "other-source" Policy "the workflow is right, and was run for another repository"
        OtherRef "other-ref" Policy "another branch or tag was built"
        OtherTrigger "other-trigger" Policy "something else started the build"
        OtherRunner "other-runner" Policy "the build ran on another kind of machine"
        OtherRecipe "other-recipe" Policy "the signer may not speak for this recipe"
        EntryExpired "entry-expired" Policy "the policy's entry for the signer has expired"
        SignerRevoked "signer-revoked" Policy "the key or the identity is revoked"
        TooFewOrganisations "too-few-organisations" Policy "fewer organisations signed than the policy wants"
        BundleRevoked "bundle-revoked" Policy "the bundle is revoked"
        OtherBundle "other-bundle" Integrity "the signature is about another bundle, or the manifest was changed"
        ManifestInvalid "manifest-invalid" Schema "the manifest is not one"
        FilesDiffer "files-differ" Integrity "files are changed, missing or too many"
        OtherArtifact "other-artifact" Integrity "the artifact, the content and the signed statement do not belong together"
        DocumentInvalid "document-invalid" Schema "a document of the bundle is not what it claims to be"
        ResultsDisagree "results-disagree" Integrity "results, CTRF, evidence and signed statement do not tell one story"
        ZeroChecks "zero-checks" Inconclusive "the run made no check"
        AllSkipped "all-skipped" Inconclusive "every check was skipped"
        AllErrored "all-errored" Inconclusive "no check could tell"
        Inconclusive "inconclusive" Inconclusive "some checks could not tell or did not run"
        Failures "failures" Failed "the evidence records failures"
        NothingDeclared "nothing-declared" Coverage "the recipe declares no checks, so nothing can be covered"
        ChecksMissing "checks-missing" Coverage "declared checks are missing, errored or did not run"
        ChecksOutOfScope "checks-out-of-scope" Coverage "declared checks were left out, and the policy wants all"
        HardwareSimulated "hardware-simulated" Policy "the hardware is simulated, and the policy does not accept that"
        HardwareUnknown "hardware-unknown" Policy "the hardware is not known to be real, and the policy does not accept that"
        HardwareDisagrees "hardware-disagrees" Integrity "the hardware label is not what the shipped snapshot shows"
        ReplayDisagrees "replay-disagrees" Integrity "recipe, snapshot, constraints or pointer do not agree when they are judged again"
        TimesDisagree "times-disagree" Integrity "the run ended before it began, or after its signature was seen"
        TooOld "too-old" Stale "the evidence is older than the policy allows"
        NoTrustedTime "no-trusted-time" Policy "the policy limits the age, and nobody vouches for the time of the signature"
        RecipeDrifted "recipe-drifted" Stale "the recipe has changed since in what it asks for"
    }
    gate {
        NoPolicy "no-policy" Policy "the base has no policy, so nothing can be judged"
            "commit a policy to the base branch first: `seatrial policy lint` says whether it can be used; whoever may merge past the gate has to do it once"
        PolicyInvalid "policy-invalid" Schema "the policy cannot be used once the change is merged"
            "`seatrial policy lint` says what is wrong with it"
        PolicyChanged "policy-changed" Policy "the change edits, adds or removes what the policy says, and no owner approved it"
            "ask one of the policy's `owners` to approve the change; evidence in the same change is judged by the policy of the base"
        TooMuch "too-much" Policy "the change holds more than the gate reads"
            "split the change; evidence needs one small file for each bundle"
        UnexpectedFile "unexpected-file" Policy "a file under the directory of evidence is neither a pointer nor the policy"
            "take the file out of the change: only pointers and the policy belong there"
        NotAFile "not-a-file" Integrity "a symbolic link, a submodule or an executable file stands where a pointer is expected"
            "commit the pointer as a plain file that is not executable"
        NameUnsafe "name-unsafe" Integrity "the name of a file is not UTF-8, too long or holds what cannot be shown"
            "name pointers as `seatrial evidence publish` does: evidence/<recipe>/sha256-<digest>.yaml"
        NameCollides "name-collides" Integrity "two names differ in letter case only, which is one file on some machines"
            "keep one of the two"
        PointerMisplaced "pointer-misplaced" Integrity "the pointer does not lie in the folder of its recipe"
            "move it to evidence/<recipe>/, where `seatrial evidence publish` puts it"
        PointerEdited "pointer-edited" Policy "a pointer that was there is another; pointers are only ever added"
            "restore the old file and add the new pointer beside it; replacing it needs the approval of one of the policy's `owners`"
        PointerRemoved "pointer-removed" Policy "a pointer was removed, and no owner approved it"
            "restore the file, or ask one of the policy's `owners` to approve the change"
        ApprovalUnknown "approval-unknown" Inconclusive "whether an owner approved the change could not be told"
            "let the gate read reviews, or run it again"
        RecipeInvalid "recipe-invalid" Schema "the recipes cannot be read once the change is merged"
            "`seatrial recipe lint` says what is wrong with them"
        MergeUnknown "merge-unknown" Inconclusive "base and head have both changed a file of the recipe data, and what a merge makes of it is not known yet"
            "merge the base branch into the head, or rebase the head onto it, and run the gate again"
        RecipeUnknown "recipe-unknown" Policy "evidence for a recipe that is not there, so it cannot be told whether it is about what the recipe asks"
            "commit the recipe to the recipe data (`recipes/`, or what --data names), or take the pointer out"
        EvidenceOutdated "evidence-outdated" Stale "a recipe changes in what it asks for, and its evidence is about what it asked earlier"
            "run the recipe again, publish the evidence and commit the new pointer with the change"
        EvidenceMissing "evidence-missing" Coverage "the change affects a recipe that has no evidence"
            "run the recipe, publish the evidence and commit the pointer with the change"
    }
}

/// What to do about a piece of evidence: what its kind of reason asks for.
fn of_evidence(reason: Reason) -> &'static str {
    match (reason, reason.exit()) {
        (Reason::RegistryNotListed, _) => {
            "publish to a registry that the policy of the base lists, or ask one of its owners to list this one first"
        }
        (Reason::Usage, _) => {
            "publish the bundle to where the pointer says that it is, or commit the pointer that `seatrial evidence publish` wrote"
        }
        (_, Exit::Failed) => "mend what failed, run again, and publish and commit that evidence",
        (_, Exit::Inconclusive) => "run again where every check can tell, and publish and commit that evidence",
        (_, Exit::Denied) => "let whoever runs the gate read the registry, or make the repository public; then run the gate again",
        (_, Exit::Timeout | Exit::Unavailable | Exit::Interrupted) => {
            "run the gate again; if it stays so, see whether the registry can be reached"
        }
        (_, Exit::Unsigned) => "sign it with `seatrial evidence sign <pointer>` and commit what that writes",
        (_, Exit::Policy) => {
            "bring evidence that the policy of the base accepts: `seatrial policy explain <pointer>` says what it asks for"
        }
        (_, Exit::Stale) => "run the recipe as it is now, and publish and commit that evidence",
        (_, Exit::Coverage) => "run all checks that the recipe declares, and publish and commit that evidence",
        (_, Exit::Ok | Exit::Usage | Exit::Signature | Exit::Integrity | Exit::Schema) => {
            "publish it anew with `seatrial evidence publish` and commit the pointer as that writes it"
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

/// A reason, with what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The reason.
    pub reason: Reason,
    /// What was seen, in one sentence.
    pub message: String,
}

impl Said {
    /// A reason with what was seen.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
