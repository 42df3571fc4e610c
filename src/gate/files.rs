//! What becomes of every file that the change touches: pointers, the policy, recipes, and what belongs to none of these.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use crate::error::Result;
use crate::evidence::Pointer;
use crate::gate::changes::{self, Changed, Layout, Place};
use crate::gate::decide::Found;
use crate::gate::evidence::{self, Candidate};
use crate::gate::recipes::{Held, Recipes};
use crate::gate::report::{FileRow, PointerRow, RowDecision, What};
use crate::gate::rules::{self, Rules};
use crate::gate::sides::{self, Listings, Sides};
use crate::gate::standing::{Ruling, Standing};
use crate::gate::{Request, advised, shown};
use crate::limits;
use crate::policy::Weight;
use crate::reason::{Reason, Said};

/// Looks at all of them.
///
/// # Errors
/// If a tree cannot be read.
pub(super) async fn look(
    request: &Request,
    sides: &Sides<'_>,
    rules: &Rules,
    standing: &Standing,
    deadline: Instant,
    found: &mut Found,
) -> Result<()> {
    let listings = match sides.listings(&request.evidence)? {
        Ok(listings) => listings,
        Err(said) => {
            found.reasons.push(advised(said));
            return Ok(());
        }
    };
    look_alikes(request, sides, found)?;
    let mut amended = rules::amended(Rules::read(&sides.common, &request.policy).ok().flatten().as_ref(), &sides.head, &request.policy);
    amended.paths.extend(rules.keys.iter().cloned());
    let layout = Layout { evidence: &request.evidence, policy: &amended.paths };
    let mut changed = changes::between(&listings.common, &listings.tip, &listings.head, &layout);
    // A policy, or a key file of one, that lies elsewhere is looked at all the same.
    for path in amended.paths.iter().filter(|path| !below(path, &request.evidence)) {
        match sides.listings(path)? {
            Ok(elsewhere) => changed.extend(changes::between(&elsewhere.common, &elsewhere.tip, &elsewhere.head, &layout)),
            Err(said) => found.reasons.push(advised(said)),
        }
    }
    if changed.iter().any(|changed| changed.place == Place::Policy) {
        found.policy_changes.clone_from(&amended.changes);
        found.reasons.extend(amended.unusable.clone().map(advised));
    }
    let (pointers, others): (Vec<&Changed>, Vec<&Changed>) = changed.iter().partition(|changed| matches!(changed.place, Place::Pointer(_)));
    files(&others, rules, standing, found);
    let named: BTreeSet<String> = pointers
        .iter()
        .filter_map(|changed| match &changed.place {
            Place::Pointer(recipe) => Some(recipe.clone()),
            _ => None,
        })
        .collect();
    if pointers.len() > limits::GATE_POINTERS {
        let message = format!("{} pointers are changed; at most {} are looked at", pointers.len(), limits::GATE_POINTERS);
        found.reasons.push(advised(Said::new(Reason::TooMuch, message)));
        return Ok(());
    }
    let recipes = match recipes(request, sides, &listings, &named, deadline).await? {
        Ok(recipes) => recipes,
        Err(said) => {
            found.reasons.push(advised(said));
            return Ok(());
        }
    };
    let mut candidates = Vec::new();
    for changed in pointers {
        match candidate(changed, sides, &recipes, standing, request)? {
            Ok(candidate) => candidates.push(candidate),
            Err(row) => found.pointers.push(*row),
        }
    }
    let bytes: BTreeMap<String, Arc<[u8]>> = candidates.iter().map(|candidate| (candidate.path.clone(), candidate.bytes.clone())).collect();
    let policy = Arc::new(rules.policy.clone());
    let judged = evidence::judge(candidates, &policy, request, deadline).await;
    let accepted: BTreeSet<String> =
        judged.iter().filter(|judged| judged.evidence.is_some()).map(|judged| judged.row.path.clone()).collect();
    found.pointers.extend(judged.into_iter().map(|judged| judged.row));
    found.pointers.sort_by(|a, b| a.path.cmp(&b.path));
    let wanted: BTreeSet<String> = recipes.affected_names().into_iter().chain(named.iter().cloned()).collect();
    let held = held(request, sides, &listings, &wanted, &bytes, &accepted)?;
    found.recipes = recipes.rows(&named, &held, &rules.policy.gate);
    Ok(())
}

/// True for a path in a directory.
fn below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Looks for names that stand beside evidence, policy or recipes, or beside a directory on the way to them, and could be taken for them.
fn look_alikes(request: &Request, sides: &Sides, found: &mut Found) -> Result<()> {
    let mut looked = BTreeSet::new();
    for path in [&request.evidence, &request.policy, &request.data] {
        let parts: Vec<&str> = path.split('/').collect();
        for (at, part) in parts.iter().enumerate() {
            let folder = parts[..at].join("/");
            // What lies among the evidence is looked at file by file.
            if below(&format!("{folder}/"), &request.evidence) || !looked.insert((folder.clone(), *part)) {
                continue;
            }
            let names = match sides.head.names(&folder) {
                Ok(names) => names,
                Err(error) => {
                    found.reasons.push(advised(sides::said(error)?));
                    return Ok(());
                }
            };
            for name in changes::look_alikes(&names, &sides.common.names(&folder)?, part) {
                let (way, mine) = (if at == 0 { String::new() } else { format!("{folder}/") }, parts[..=at].join("/"));
                let message = format!("`{way}{name}` is {mine} on machines that do not tell such names apart");
                found.reasons.push(advised(Said::new(Reason::NameCollides, message)));
            }
        }
    }
    Ok(())
}

/// Rows of everything but pointers.
fn files(others: &[&Changed], rules: &Rules, standing: &Standing, found: &mut Found) {
    if others.len() > limits::GATE_FILES {
        let message =
            format!("{} other files are changed under the directory of evidence; {} are listed", others.len(), limits::GATE_FILES);
        found.reasons.push(advised(Said::new(Reason::TooMuch, message)));
    }
    for changed in others.iter().take(limits::GATE_FILES) {
        let accepted = Ruling { decision: RowDecision::Accept, reasons: Vec::new(), approved_by: Vec::new() };
        let refused = |said: &Said| Ruling { decision: RowDecision::Refuse, reasons: vec![advised(said.clone())], approved_by: Vec::new() };
        let path = changed.shown();
        let ruling = match &changed.place {
            Place::Policy if rules.policy.gate.policy_changes == Weight::Report => accepted,
            Place::Policy => standing.rule(Said::new(Reason::PolicyChanged, format!("{path} was {}", changed.what.word()))),
            // An owner may approve a text that lies there, and what is taken away; not what could be taken for something else.
            Place::Other(said) if said.reason == Reason::UnexpectedFile || changed.what == What::Removed => standing.rule(said.clone()),
            Place::Other(said) => refused(said),
            Place::Pointer(_) => continue,
        };
        let Ruling { decision, reasons, approved_by } = ruling;
        found.files.push(FileRow { path, change: changed.what, decision, reasons, approved_by });
    }
}

/// Makes the recipes; parsing and merging is work for a thread of its own, and ends with the time.
async fn recipes(
    request: &Request,
    sides: &Sides<'_>,
    listings: &Listings,
    named: &BTreeSet<String>,
    deadline: Instant,
) -> Result<Result<Recipes, Said>> {
    let [before, after] = match sides::data(sides, &request.data)? {
        Ok(both) => both,
        Err(said) => return Ok(Err(said)),
    };
    let mut names = named.clone();
    if before != after {
        // Evidence of recipes that have no overlay of their own may be affected too.
        names.extend(listings.head.keys().filter_map(|path| folder(path, &request.evidence)));
    }
    let directory = request.data.clone();
    let (before, after) = (before.into_iter().collect(), after.into_iter().collect());
    let task = tokio::task::spawn_blocking(move || Recipes::make(&directory, before, after, &names));
    Ok(match tokio::time::timeout_at(deadline, task).await {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => Err(Said::new(Reason::RecipeInvalid, format!("the recipes cannot be made: {error}"))),
        Err(_) => {
            let message = format!("the recipes were not made within {} s", request.limit.as_secs());
            Err(Said::new(Reason::TooMuch, message))
        }
    })
}

/// The folder of a pointer, by the form of its path.
fn folder(path: &[u8], evidence: &str) -> Option<String> {
    let below = std::str::from_utf8(path).ok()?.strip_prefix(evidence)?.strip_prefix('/')?;
    let (recipe, file) = below.split_once('/')?;
    (crate::evidence::pointer::check_name(recipe).is_ok() && file.ends_with(".yaml") && !file.contains('/')).then(|| recipe.to_owned())
}

/// A pointer that is to be verified, or its row if nothing has to be fetched to judge it.
fn candidate(
    changed: &Changed,
    sides: &Sides,
    recipes: &Recipes,
    standing: &Standing,
    request: &Request,
) -> Result<Result<Candidate, Box<PointerRow>>> {
    let path = changed.shown();
    let Place::Pointer(folder) = &changed.place else {
        return Err(crate::error::Error::internal(format!("{path} is no pointer")));
    };
    let blank = |bytes: Option<&[u8]>| evidence::row(path.clone(), changed.what, bytes, request.now);
    let ruled = |mut row: PointerRow, ruling: Ruling| {
        row.exit = ruling.reasons.first().map_or(0, |first| first.reason.exit().code());
        (row.decision, row.reasons, row.approved_by) = (ruling.decision, ruling.reasons, ruling.approved_by);
        Box::new(row)
    };
    let refused = |row: PointerRow, said: Said| {
        let reasons = vec![advised(said)];
        ruled(row, Ruling { decision: RowDecision::Refuse, reasons, approved_by: Vec::new() })
    };
    let Some(is) = &changed.is else {
        return Ok(Err(ruled(blank(None), standing.rule(Said::new(Reason::PointerRemoved, format!("{path} was removed"))))));
    };
    let bytes = match sides.head.read(&changed.path, is, limits::DOCUMENT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(refused(blank(None), sides::said(error)?))),
    };
    let mut approved_by = Vec::new();
    if changed.what == What::Edited {
        let ruling = standing.rule(Said::new(Reason::PointerEdited, format!("{path} was there and is another")));
        if ruling.decision != RowDecision::Accept {
            return Ok(Err(ruled(blank(Some(&bytes)), ruling)));
        }
        approved_by = ruling.approved_by;
    }
    let row = blank(Some(&bytes));
    if let Some(recipe) = row.facts.recipe.as_ref().filter(|recipe| *recipe != folder) {
        let message = format!("{path} is about {recipe} and lies in the folder of {folder}");
        return Ok(Err(refused(row, Said::new(Reason::PointerMisplaced, message))));
    }
    let recipe = match recipes.today(folder) {
        Ok(recipe) => recipe,
        Err(said) => return Ok(Err(refused(row, said))),
    };
    Ok(Ok(Candidate { path, change: changed.what, folder: folder.clone(), bytes: bytes.into(), recipe, approved_by }))
}

/// The pointers of some recipes as they are once the change is merged.
fn held(
    request: &Request,
    sides: &Sides,
    listings: &Listings,
    wanted: &BTreeSet<String>,
    bytes: &BTreeMap<String, Arc<[u8]>>,
    accepted: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<Held>>> {
    let mut held: BTreeMap<String, Vec<Held>> = BTreeMap::new();
    for (path, found, of_head) in listings.merged() {
        let Some(recipe) = folder(path, &request.evidence).filter(|recipe| wanted.contains(recipe)) else { continue };
        let of_recipe = held.entry(recipe).or_default();
        if of_recipe.len() >= limits::GATE_RECIPE_POINTERS {
            continue;
        }
        let name = shown(&String::from_utf8_lossy(path));
        let parse = |bytes: &[u8]| Pointer::parse(std::str::from_utf8(bytes).ok()?, &name).ok();
        let is_change = of_head && listings.tip.get(path) != Some(found);
        let one = if is_change {
            let pointer = bytes.get(&name).and_then(|bytes| parse(bytes));
            Held { added: Some(accepted.contains(&name)), pointer, path: name }
        } else {
            let pointer = sides.tip.read(path, found, limits::DOCUMENT_BYTES).ok().and_then(|bytes| parse(&bytes));
            Held { added: None, pointer, path: name }
        };
        of_recipe.push(one);
    }
    Ok(held)
}
