//! Whether registries have the images of our pods, as far as this machine can tell; whether nodes can pull them, only a pod can.

use futures::future::join_all;

use crate::error::{Error, Kind, Result};
use crate::limits;
use crate::preflight::{Line, Status};
use crate::registry::{Image, Options, Registry};

/// What a registry says of an image.
enum Answer {
    There,
    Absent,
    Unknown(Error),
}

/// Asks the registry of each image; none is pulled.
pub(super) async fn ask(images: &[String], secrets: &[String], options: &Options) -> Line {
    let answers = images.iter().map(|image| async move { (image.as_str(), answer(image, options).await) });
    judge(join_all(answers).await, secrets)
}

async fn answer(image: &str, options: &Options) -> Answer {
    let asked = tokio::time::timeout(limits::IMAGE_ASKED, there(image, options)).await;
    match asked {
        Ok(Ok(true)) => Answer::There,
        Ok(Ok(false)) => Answer::Absent,
        Ok(Err(error)) => Answer::Unknown(error),
        Err(_) => Answer::Unknown(Error::new(Kind::Timeout, format!("no answer within {} s", limits::IMAGE_ASKED.as_secs()))),
    }
}

async fn there(image: &str, options: &Options) -> Result<bool> {
    let image: Image = image.parse()?;
    // Plain HTTP is meant for the registry on this machine that evidence goes to.
    let tls = Options { plain_http: false, insecure_plain_http: false, ..options.clone() };
    let registry = Registry::open(&image.repository, options).or_else(|_| Registry::open(&image.repository, &tls))?;
    registry.has(&image.reference).await
}

/// What the answers come to; pure.
fn judge(answers: Vec<(&str, Answer)>, secrets: &[String]) -> Line {
    let secrets = match secrets {
        [] => String::new(),
        names => format!("; whether secret {} is there is not read, as secrets are none of our business", names.join(", ")),
    };
    let (mut there, mut absent, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (image, answer) in answers {
        match answer {
            Answer::There => there.push(image.to_owned()),
            Answer::Absent => absent.push(image.to_owned()),
            Answer::Unknown(error) => unknown.push(format!("{image}: {}", error.chain())),
        }
    }
    if !absent.is_empty() {
        // A node may have it all the same: from a mirror, or loaded by hand.
        return Line::new("images", Status::Unsure, format!("the registry has no {}{secrets}", absent.join(", ")))
            .fix("check the name, --image and --image-mirror; an image that is on every node already is found there");
    }
    if !unknown.is_empty() {
        return Line::new(
            "images",
            Status::NotTried,
            format!("only a pod can tell whether nodes can pull what cannot be seen from here: {}{secrets}", unknown.join("; ")),
        );
    }
    Line::new("images", Status::Ok, format!("{} is there, as seen from this machine{secrets}", there.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_not_there_is_said_before_one_that_cannot_be_seen() {
        let unknown = || Answer::Unknown(Error::new(Kind::Unavailable, "no route"));
        let line = judge(vec![("a", Answer::There), ("b", unknown()), ("c", Answer::Absent)], &[]);
        assert_eq!((line.status, line.found.as_str()), (Status::Unsure, "the registry has no c"));
        let line = judge(vec![("a", Answer::There), ("b", unknown())], &["s".to_owned()]);
        assert!(line.status == Status::NotTried && line.found.contains("b: no route") && line.found.contains("secret s"), "{}", line.found);
        assert_eq!(judge(vec![("a", Answer::There)], &[]).status, Status::Ok);
    }
}
