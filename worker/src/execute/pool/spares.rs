//! Processes that have loaded nothing yet, some of each language that is used here: the first job of a version need
//! not wait for an interpreter's start.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::Language;

use super::{Pool, Wanted};
use crate::execute::session::{Process, Terms};
use crate::runtime::Runtime;

/// One is made so much later than the last was taken: whoever took it has the cores first.
const MADE_AFTER: Duration = Duration::from_millis(10);

/// Those there are.
#[derive(Debug)]
pub(super) struct Spares {
    /// Of each language.
    keep: usize,
    stocks: Mutex<HashMap<Language, Stock>>,
}

#[derive(Debug, Default)]
struct Stock {
    ready: Vec<Process>,
    /// One is being made.
    making: bool,
}

impl Spares {
    pub(super) fn of(keep: usize) -> Self {
        Self { keep, stocks: Mutex::default() }
    }

    /// One of this language.
    pub(super) fn take(&self, language: Language) -> Option<Process> {
        self.stock(language, |stock| stock.ready.pop())
    }

    /// Has some made, granted what this job is, in the background.
    pub(super) fn want(&self, pool: &Pool, wanted: &Wanted<'_>) {
        let language = wanted.runtime.language();
        let begins = self.stock(language, |stock| !std::mem::replace(&mut stock.making, true));
        if begins {
            tokio::spawn(make(pool.clone(), Arc::clone(wanted.runtime), wanted.terms.clone()));
        }
    }

    fn stock<T>(&self, language: Language, change: impl FnOnce(&mut Stock) -> T) -> T {
        let mut stocks = self.stocks.lock().unwrap_or_else(PoisonError::into_inner);
        change(stocks.entry(language).or_default())
    }
}

async fn make(pool: Pool, runtime: Arc<dyn Runtime>, terms: Terms) {
    let (spares, language) = (&pool.0.spares, runtime.language());
    tokio::time::sleep(MADE_AFTER).await;
    loop {
        let full = spares.stock(language, |stock| {
            stock.making = stock.ready.len() < spares.keep;
            !stock.making
        });
        if full {
            return;
        }
        let made = async {
            let mut process =
                pool.start(runtime.as_ref(), terms.clone(), &[]).await.map_err(|e| e.to_string())?;
            process.up().await?;
            process.stays();
            process.freeze();
            Ok::<_, String>(process)
        };
        match made.await {
            Ok(process) => spares.stock(language, |stock| stock.ready.push(process)),
            Err(error) => {
                tracing::warn!(%error, %language, "no process could be started ahead of a job");
                spares.stock(language, |stock| stock.making = false);
                return;
            }
        }
    }
}
