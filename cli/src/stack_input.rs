//! Reads what a stack is made of from disk, standard input and the environment, since `stackfile`
//! reads nothing itself.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use model::StackSpec;
use stackfile::{
    Bounds, Diagnostic, MAX_FILE_BYTES, ReadError, Request, Severity, SourceFile, Sources,
};

use crate::{
    args::StackFiles,
    error::Error,
    output::{Out, Tone},
};

/// Looked for, in this order, when no file is named. The last two are other spellings Compose knows.
const DEFAULT_FILES: [&str; 5] =
    ["stack.yaml", "compose.yaml", "docker-compose.yml", "compose.yml", "docker-compose.yaml"];
/// The name standard input has in messages.
const STDIN_NAME: &str = "<stdin>";

/// Everything a stack is read from.
#[derive(Debug)]
pub struct StackInput {
    files: Vec<SourceFile>,
    stack_name: Option<String>,
    directory: Directory,
    shown_directory: String,
    environment: BTreeMap<String, String>,
    dotenv: Vec<SourceFile>,
    profiles: Vec<String>,
    bounds: Bounds,
}

/// A stack and what is to be said about it.
#[derive(Debug)]
pub struct LoadedStack {
    /// What the files ask for.
    pub spec: StackSpec,
    /// Warnings and notes of its reader.
    pub notes: Vec<Diagnostic>,
}

impl StackInput {
    /// Reads the files the command line names, or the default one.
    pub fn read(arguments: &StackFiles) -> Result<Self, Error> {
        let here = std::env::current_dir()
            .map_err(|error| Error::input(format!("cannot tell the current directory: {error}")))?;
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let open = |path: &Path| match path.to_str() {
            Some("-") => read_all(STDIN_NAME, io::stdin().lock()),
            _ => read_file(path),
        };
        Self::gather(arguments, &here, environment.collect(), open)
    }

    fn gather(
        arguments: &StackFiles,
        here: &Path,
        environment: BTreeMap<String, String>,
        mut open: impl FnMut(&Path) -> Result<SourceFile, Error>,
    ) -> Result<Self, Error> {
        let named = [arguments.files.as_slice(), &arguments.file].concat();
        let start =
            arguments.project_directory.as_ref().map_or(here.to_owned(), |dir| here.join(dir));
        let paths = if named.is_empty() { default_files(here, &start)? } else { named };
        let directory = match &arguments.project_directory {
            Some(_) => start,
            None => directory_of(here, &paths[0]),
        };
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        let files = paths.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        if !directory.is_dir() {
            return Err(Error::input(format!("there is no directory {}", directory.display())));
        }
        let dotenv = if arguments.env_file.is_empty() {
            let file = directory.join(".env");
            if file.is_file() { vec![open(&shortest(&file, here))?] } else { Vec::new() }
        } else {
            arguments.env_file.iter().map(|path| open(path)).collect::<Result<_, _>>()?
        };
        Ok(Self {
            files,
            stack_name: arguments.stack.clone(),
            shown_directory: directory.display().to_string(),
            directory: Directory(directory),
            environment,
            dotenv,
            profiles: arguments.profile.clone(),
            bounds: Bounds::APPLIED,
        })
    }

    /// The same for a plan on imagined machines, which may be larger.
    #[must_use]
    pub fn imagined(self) -> Self {
        Self { bounds: Bounds::IMAGINED, ..self }
    }

    /// The same for `stackfile`.
    pub fn request(&self) -> Request<'_> {
        Request {
            files: &self.files,
            stack_name: self.stack_name.as_deref(),
            project_directory: &self.shown_directory,
            environment: &self.environment,
            dotenv: &self.dotenv,
            profiles: &self.profiles,
            sources: &self.directory,
            bounds: self.bounds,
        }
    }

    /// The stack to apply.
    pub fn load(&self) -> Result<LoadedStack, Error> {
        let loaded = stackfile::load(&self.request()).map_err(Error::Stack)?;
        Ok(LoadedStack { spec: loaded.stack, notes: loaded.notes })
    }
}

/// Says warnings and notes on standard error; with `-q` none of them.
pub fn say_notes(out: &mut Out, notes: &[Diagnostic]) {
    for note in notes {
        let word = note.severity.as_str();
        let text = note.to_string();
        let rest = text.strip_prefix(word).unwrap_or(&text);
        match note.severity {
            Severity::Note => {
                let word = out.paint_aside(Tone::Faint, word);
                out.note(&format!("{word}{rest}"));
            }
            Severity::Warning => {
                let word = out.paint_aside(Tone::Careful, word);
                out.note(&format!("{word}{rest}"));
            }
            Severity::Error => {
                let word = out.paint_aside(Tone::Bad, word);
                out.aside(&format!("{word}{rest}"));
            }
        }
    }
}

/// Reads one file that is not a stack file, such as `NODES.yaml`.
pub fn read_file(path: &Path) -> Result<SourceFile, Error> {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) if file.metadata().is_ok_and(|metadata| metadata.is_dir()) => {
            Err(Error::input(format!("{name} is a directory, not a file")))
        }
        Ok(file) => read_all(&name, file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing(path)),
        Err(error) => Err(Error::input(format!("cannot read {name}: {error}"))),
    }
}

/// One byte more than is allowed is read, so that `stackfile` sees and refuses a longer file.
fn read_all(name: &str, from: impl Read) -> Result<SourceFile, Error> {
    let mut bytes = Vec::new();
    from.take(Bounds::IMAGINED.file_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::input(format!("cannot read {name}: {error}")))?;
    Ok(SourceFile::new(name, bytes))
}

fn missing(path: &Path) -> Error {
    let error = Error::input(format!("there is no file {}", path.display()));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new("."));
    let Ok(entries) = directory.read_dir() else {
        return error.hint(format!("the directory {} is not there either", directory.display()));
    };
    let names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match crate::output::amount::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean {}?", directory.join(near).display())),
        None => error,
    }
}

/// The default stack file and, as Compose has it, the `NAME.override.yaml` beside it.
fn default_files(here: &Path, start: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = DEFAULT_FILES.iter().map(|name| start.join(name)).filter(|path| path.is_file());
    let Some(file) = found.next() else {
        let error = Error::input(format!("there is no stack file in {}", start.display()));
        return Err(error.hint(format!(
            "name one, `-` reads standard input; else one of these is taken: {}",
            DEFAULT_FILES[..3].join(", ")
        )));
    };
    let beside = ["override.yaml", "override.yml"].map(|extension| file.with_extension(extension));
    let over = beside.into_iter().find(|path| path.is_file());
    Ok(std::iter::once(file).chain(over).map(|path| shortest(&path, here)).collect())
}

/// The path as a person in `here` would write it.
fn shortest(path: &Path, here: &Path) -> PathBuf {
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

fn directory_of(here: &Path, file: &Path) -> PathBuf {
    if file.as_os_str() == "-" {
        return here.to_owned();
    }
    here.join(file).parent().unwrap_or(here).to_owned()
}

/// The project directory as the source of what a stack file names.
#[derive(Debug)]
struct Directory(PathBuf);

impl Sources for Directory {
    fn read(&self, path: &str) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        let read = File::open(self.0.join(path))
            .and_then(|file| file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes));
        match read {
            Ok(length) if length > MAX_FILE_BYTES => Err(ReadError::TooLarge),
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ReadError::NotFound),
            Err(error) => Err(ReadError::Other(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct World(tempfile::TempDir);

    impl World {
        fn new(files: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = directory.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(directory)
        }

        fn gather(&self, arguments: &StackFiles) -> Result<StackInput, Error> {
            let here = self.0.path();
            let open = |path: &Path| {
                if path == Path::new("-") {
                    return Ok(SourceFile::new(STDIN_NAME, "from stdin"));
                }
                let file = read_file(&here.join(path))?;
                Ok(SourceFile { name: path.display().to_string(), ..file })
            };
            StackInput::gather(arguments, here, BTreeMap::new(), open)
        }
    }

    fn positional(names: &[&str]) -> StackFiles {
        StackFiles { files: names.iter().map(PathBuf::from).collect(), ..StackFiles::default() }
    }

    #[track_caller]
    fn refused(result: Result<StackInput, Error>) -> String {
        let Error::Told { message, hint, .. } = result.unwrap_err() else { panic!("not told") };
        format!("{message} | {}", hint.unwrap_or_default())
    }

    #[test]
    fn the_default_file_is_the_first_of_a_fixed_order() {
        let all = ["docker-compose.yml", "compose.yaml", "stack.yaml"];
        for count in 1..=all.len() {
            let files: Vec<_> = all[..count].iter().map(|name| (*name, "x")).collect();
            let input = World::new(&files).gather(&StackFiles::default()).unwrap();
            assert_eq!(input.files[0].name, all[count - 1]);
        }
        let both = World::new(&[("compose.yaml", "x"), ("compose.override.yml", "y")]);
        let input = both.gather(&StackFiles::default()).unwrap();
        let names: Vec<_> = input.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["compose.yaml", "compose.override.yml"]);
        let told = refused(World::new(&[]).gather(&StackFiles::default()));
        assert!(told.contains("there is no stack file in"), "{told}");
        assert!(told.ends_with("stack.yaml, compose.yaml, docker-compose.yml"), "{told}");
    }

    #[test]
    fn the_first_file_says_where_the_project_is_and_its_env_file_comes_along() {
        let world = World::new(&[("shop/stack.yaml", "a"), ("shop/.env", "A=1"), (".env", "A=2")]);
        let input = world.gather(&positional(&["shop/stack.yaml"])).unwrap();
        assert!(input.shown_directory.ends_with("/shop"), "{}", input.shown_directory);
        assert_eq!(input.dotenv[0].bytes, b"A=1");
        let input = world.gather(&positional(&["-"])).unwrap();
        assert_eq!(
            (input.files[0].name.as_str(), &*input.dotenv[0].bytes),
            (STDIN_NAME, &b"A=2"[..])
        );
        let directory = Some(PathBuf::from("shop"));
        let elsewhere = StackFiles { project_directory: directory, ..positional(&["-"]) };
        assert_eq!(world.gather(&elsewhere).unwrap().dotenv[0].bytes, b"A=1");
    }

    #[test]
    fn a_missing_file_names_the_nearest_one() {
        let world = World::new(&[("stack.yaml", "a")]);
        let told = refused(world.gather(&positional(&["stak.yaml"])));
        assert!(told.contains("there is no file") && told.contains("did you mean"), "{told}");
        let told = refused(world.gather(&positional(&["nowhere/stack.yaml"])));
        assert!(told.contains("is not there"), "{told}");
        let told = refused(world.gather(&positional(&["."])));
        assert!(told.contains("is a directory"), "{told}");
    }

    #[test]
    fn what_a_stack_file_names_is_read_below_the_project_and_bounded() {
        let world = World::new(&[("web.env", "A=1")]);
        fs::write(world.0.path().join("big"), vec![b'x'; MAX_FILE_BYTES + 1]).unwrap();
        let sources = Directory(world.0.path().to_owned());
        assert_eq!(sources.read("web.env"), Ok(b"A=1".to_vec()));
        assert_eq!(sources.read("none"), Err(ReadError::NotFound));
        assert_eq!(sources.read("big"), Err(ReadError::TooLarge));
    }
}
