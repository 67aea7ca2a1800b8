//! The parts of one suite in the order they start: third-party servers, then gantryd.

use anyhow::Result;
use gantry_servers::server::Folders;
use gantry_servers::suite::{self, Choices, Urls};
use gantry_servers::{PidFile, Server};

use crate::gantryd::Gantryd;
use crate::work::Work;

pub struct Parts {
    pub all: Vec<Box<dyn Server>>,
    pub urls: Urls,
    pub folders: Folders,
}

impl Parts {
    /// # Errors
    /// When folders cannot be made.
    pub fn of(work: &Work, choices: &Choices) -> Result<Self> {
        let with_agent = work.with_agent();
        let folders = Folders::below(work.home.root())?;
        let (mut all, urls) = suite::servers(&work.home, choices, with_agent)?;
        all.push(Box::new(Gantryd { folders: folders.clone(), home: work.home.clone(), ports: choices.ports, program: work.program("gantryd"), with_agent }));
        Ok(Self { all, urls, folders })
    }

    pub fn supervisor(&self) -> PidFile {
        PidFile::new(self.folders.run.join("supervisor.pid"))
    }
}
