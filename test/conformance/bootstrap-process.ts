import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Launcher, Started } from './bootstrap-fixture.ts';
import { compileHandlers, handlersDir, imagesDir } from './bootstrap-handlers.ts';
import type { Language } from './bootstrap-languages.ts';

/** Small heaps: the suite fills them, and here no container stands in between. */
const COMMANDS: Record<Language['name'], (built: string) => string[]> = {
  python: () => ['python3', join(imagesDir, 'python3.11/bootstrap.py')],
  nodejs: () => [process.execPath, '--max-old-space-size=64', join(imagesDir, 'nodejs/bootstrap.cjs')],
  java: (built) =>
    ['java', '-Xmx64m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Dfile.encoding=UTF-8'].concat(
      ['-Dsun.stdout.encoding=UTF-8', '-Dsun.stderr.encoding=UTF-8', '-cp', join(built, 'worker-front.jar')],
      ['workerfront.Bootstrap'],
    ),
};

/** What the launcher cannot make without tools that the machine may lack. */
export interface ProcessParts {
  /** Folder with `init`, and for Java `worker-front.jar`. */
  built: string;
  /** Folder of a bundle in place of the suite's. */
  bundle?: string;
}

/** Runs bootstraps as plain processes of this machine: init compiled here, the machine's own interpreter. */
export async function processLauncher(language: Language, parts: ProcessParts): Promise<Launcher> {
  const work = await mkdtemp(join(tmpdir(), 'bootstrap-'));
  const functionDir = join(work, 'function');
  await mkdir(functionDir);
  await symlink(parts.bundle ?? handlersDir(language), join(functionDir, 'code'));
  if (language.name === 'java') await compileHandlers(language, join(functionDir, 'classes'));
  let count = 0;
  return {
    async start(dir) {
      const tmp = join(work, `tmp${count++}`);
      await mkdir(tmp);
      return startInit(
        [join(parts.built, 'init'), '--dir', dir, '--function', functionDir, '--tmp', tmp].concat(
          COMMANDS[language.name](parts.built),
        ),
        tmp,
      );
    },
    close: () => rm(work, { recursive: true, force: true }),
  };
}

function startInit(command: string[], tmp: string): Started {
  const [file, ...args] = command;
  const env = { PATH: process.env['PATH'], LANG: 'C.UTF-8', HOME: tmp };
  const child = spawn(file!, args, { stdio: ['ignore', 'ignore', 'pipe'], env });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exited = once(child, 'exit').then(([code]) => code as number);
  const closed = once(child, 'close');
  return {
    exited,
    env: { WORKER_FRONT_TMP: tmp },
    async stderr() {
      await closed;
      return stderr;
    },
    async signal(name) {
      child.kill(name);
    },
    async memory() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024;
    },
    async close() {
      child.kill('SIGTERM');
      await closed;
    },
  };
}
