//! What the tests of this crate share: a request with everything at its simplest.

use std::collections::BTreeMap;

use siso_stackfile::{
    Config, Diagnostics, Loaded, ReadError, Request, SourceFile, Sources, config, load,
};

/// Files that exist only here.
#[derive(Debug, Default)]
pub(crate) struct Named(pub(crate) BTreeMap<String, String>);

impl Sources for Named {
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or(ReadError::NotFound)
    }
}

/// A load as a test describes it.
#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) name: Option<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) dotenv: Vec<SourceFile>,
    pub(crate) profiles: Vec<String>,
    pub(crate) named: Named,
}

impl Case {
    /// One file called `stack.yaml`.
    pub(crate) fn new(text: &str) -> Self {
        Self { files: vec![SourceFile::new("stack.yaml", text)], ..Self::default() }
    }

    pub(crate) fn and_file(mut self, name: &str, text: &str) -> Self {
        self.files.push(SourceFile::new(name, text));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn dotenv(mut self, text: &str) -> Self {
        self.dotenv.push(SourceFile::new(".env", text));
        self
    }

    pub(crate) fn profile(mut self, name: &str) -> Self {
        self.profiles.push(name.to_owned());
        self
    }

    pub(crate) fn named(mut self, path: &str, text: &str) -> Self {
        self.named.0.insert(path.to_owned(), text.to_owned());
        self
    }

    fn request(&self) -> Request<'_> {
        Request {
            files: &self.files,
            stack_name: self.name.as_deref(),
            project_directory: "/home/me/shop",
            environment: &self.environment,
            dotenv: &self.dotenv,
            profiles: &self.profiles,
            sources: &self.named,
            bounds: siso_stackfile::Bounds::APPLIED,
        }
    }

    pub(crate) fn load(&self) -> Result<Loaded, Diagnostics> {
        load(&self.request())
    }

    pub(crate) fn config(&self) -> Result<Config, Diagnostics> {
        config(&self.request())
    }

    /// The messages of a load that fails.
    #[track_caller]
    pub(crate) fn errors(&self) -> String {
        self.load().expect_err("the load was to fail").to_string()
    }
}
