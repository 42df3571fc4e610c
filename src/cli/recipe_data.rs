//! The recipe data that the global flags name, and recipes from it or from anywhere.

use std::borrow::Cow;

use crate::cli::{Cx, Global};
use crate::error::Result;
use crate::limits;
use crate::recipe::catalog::Catalog;
use crate::recipe::{LoadedRecipe, load};
use crate::source::{Source, Text};

impl Global {
    /// What ships, with the directory of --data over it.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn catalog(&self) -> Result<Cow<'static, Catalog>> {
        match &self.data {
            None => Catalog::shipped().map(Cow::Borrowed),
            Some(folder) => Catalog::open(Some(folder)).map(Cow::Owned),
        }
    }

    /// The text of a recipe that is given by a file, `-`, https://… or cm://…; `None` if it is given by name.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub async fn read_text(&self, recipe: &str) -> Result<Option<Text>> {
        if recipe != "-" && !recipe.contains(['/', '.']) {
            return Ok(None);
        }
        let source: Source = recipe.parse()?;
        source.read(limits::DOCUMENT_BYTES, &self.target()).await.map(Some)
    }
}

impl Cx {
    /// A recipe by name, or from anywhere; tells what a reader should know of how it was read.
    ///
    /// # Errors
    /// A usage error with file, line and column, or the nearest known name.
    pub async fn read_recipe(&self, recipe: &str) -> Result<LoadedRecipe> {
        let text = self.global.read_text(recipe).await?;
        let loaded = match (text, &self.global.data) {
            (Some(text), None) => load::from_text(&text.text, &text.name, text.folder.as_deref()),
            (None, None) => load::read(recipe),
            (Some(text), Some(_)) => self.global.catalog()?.from_text(&text.text, &text.name, text.folder.as_deref()),
            (None, Some(_)) => self.global.catalog()?.read(recipe),
        }?;
        for note in &loaded.notes {
            self.ui.warn(note);
        }
        Ok(loaded)
    }
}
