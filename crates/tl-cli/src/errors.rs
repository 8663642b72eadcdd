//! How errors reach a person: collected, printed once, with what to do about them.

/// Everything found wrong before a run could start.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<anyhow::Error>);

impl Problems {
    pub(crate) fn add(&mut self, error: anyhow::Error) {
        self.0.push(error);
    }

    /// The value, or nothing and one problem more.
    pub(crate) fn take<T>(&mut self, result: anyhow::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// Fails with all of them, if there are any.
    pub(crate) fn check(self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = self.0.iter().map(text).collect();
        Err(anyhow::anyhow!(texts.join("\n\nerror: ")))
    }
}

/// The error and its causes in one line each, its hint last.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Transparent errors repeat their cause.
        if !text.contains(&cause) {
            let at = text.find("\n\nhint:").unwrap_or(text.len());
            text.insert_str(at, &format!(": {cause}"));
        }
    }
    text
}

/// What went wrong was said already, or was not a fault: only the exit code is left.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("exit code {0}")]
pub(crate) struct Exit(pub(crate) u8);

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_come_before_the_hint() {
        let error = Err::<(), _>(anyhow::anyhow!("permission denied"))
            .context("failed to read `a.json`\n\nhint: check it")
            .unwrap_err();
        assert_eq!(text(&error), "failed to read `a.json`: permission denied\n\nhint: check it");
    }

    #[test]
    fn all_problems_are_listed() {
        let mut problems = Problems::default();
        problems.add(anyhow::anyhow!("one"));
        assert!(problems.take(Err::<u8, _>(anyhow::anyhow!("two"))).is_none());
        assert_eq!(problems.check().unwrap_err().to_string(), "one\n\nerror: two");
        assert!(Problems::default().check().is_ok());
    }
}
