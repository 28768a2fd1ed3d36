//! The applications that tests deploy.

use margo_lab::{ComponentSpec, Lab};

/// An application: one component with a few services that do nothing, quickly.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name, and its component's.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// Its compose file; `${LAB_REGISTRY}` is the lab's registry.
    pub compose: String,
}

impl App {
    /// An application whose services sleep. `marker` tells its revisions' containers apart.
    pub fn sleeping(name: &str, revision: &str, marker: &str, services: usize) -> Self {
        let mut compose = String::from("services:\n");
        for number in 1..=services {
            compose.push_str(&format!(
                "  s{number}:\n    image: ${{LAB_REGISTRY}}/lab/busybox:1\n    \
                 command: [\"sleep\", \"1000000\"]\n    stop_signal: SIGKILL\n    \
                 environment:\n      MARKER: {marker}\n"
            ));
        }
        Self { name: name.to_owned(), revision: revision.to_owned(), compose }
    }

    /// The same, each service waiting until the one before it has started.
    pub fn chain(name: &str, revision: &str, marker: &str, services: usize) -> Self {
        let mut app = Self::sleeping(name, revision, marker, services);
        for number in 2..=services {
            let head = format!("  s{number}:\n");
            let wait = format!("{head}    depends_on: [s{}]\n", number - 1);
            app.compose = app.compose.replace(&head, &wait);
        }
        app
    }

    /// An application whose only service ends at once with an error.
    pub fn failing(name: &str, revision: &str) -> Self {
        let compose = "services:\n  s1:\n    image: ${LAB_REGISTRY}/lab/busybox:1\n    \
                       command: [\"sh\", \"-c\", \"echo on purpose; exit 1\"]\n";
        Self::with_compose(name, revision, compose)
    }

    /// An application with this compose file.
    pub fn with_compose(name: &str, revision: &str, compose: &str) -> Self {
        Self { name: name.to_owned(), revision: revision.to_owned(), compose: compose.to_owned() }
    }

    pub(crate) fn component(&self, lab: &Lab) -> ComponentSpec {
        let repository = format!("apps/{}", self.name);
        lab.registry()
            .push_compose_text(&repository, &self.revision, &self.compose)
            .expect("push the application");
        let repository = format!("oci://{}/{repository}", lab.registry().host());
        ComponentSpec::new(&*self.name, repository, &*self.revision)
    }
}
