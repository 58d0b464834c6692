//! Warm Pythons: a line of JSON in, a line of JSON out.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, mpsc};

const PROGRAM: &str = "\
import json, sys
def main(n, text):
    return {'n': n, 'text': text}
for line in sys.stdin:
    print(json.dumps(main(**json.loads(line))), flush=True)
";

/// A few interpreters; each runs one job at a time.
pub(super) struct Pythons {
    idle: Mutex<mpsc::Receiver<Python>>,
    back: mpsc::Sender<Python>,
}

struct Python {
    _child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Pythons {
    pub(super) async fn start(program: &Path, count: usize) -> anyhow::Result<Self> {
        let (back, idle) = mpsc::channel(count);
        for _ in 0..count {
            back.send(Python::start(program)?).await?;
        }
        Ok(Self { idle: Mutex::new(idle), back })
    }

    /// The result of one call, by the next interpreter that is free.
    pub(super) async fn call(&self, args: &[u8]) -> anyhow::Result<Bytes> {
        let mut python = self.idle.lock().await.recv().await.context("no Python is left")?;
        let result = python.call(args).await?;
        self.back.send(python).await?;
        Ok(result)
    }
}

impl Python {
    fn start(program: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["-I", "-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).context("a pipe is missing")?;
        Ok(Self { _child: child, stdin, stdout: BufReader::new(stdout) })
    }

    async fn call(&mut self, args: &[u8]) -> anyhow::Result<Bytes> {
        self.stdin.write_all(&[args, b"\n"].concat()).await?;
        let mut line = String::new();
        self.stdout.read_line(&mut line).await?;
        anyhow::ensure!(line.ends_with('\n'), "a Python has ended");
        line.pop();
        Ok(line.into())
    }
}
