import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Shell } from '../../src/network/shell.ts';

/** A network namespace of a test's own, where it may do with the firewall what it likes. Needs root. */
export interface NetworkNamespace extends AsyncDisposable {
  shell: Shell;
  /** Runs a script and gives its output; rejects when it fails. */
  run(script: string): Promise<string>;
}

export async function networkNamespace(): Promise<NetworkNamespace> {
  const holder = spawn('unshare', ['--net', 'sh', '-c', 'echo made; exec sleep 3600'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(holder, 'exit');
  await Promise.race([once(holder.stdout, 'data'), exited.then(() => Promise.reject(new Error('unshare needs root')))]);
  const shell: Shell = async (script) => {
    const child = spawn('nsenter', [`--net=/proc/${holder.pid}/ns/net`, 'sh'], { stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.end(script);
    return finished(child);
  };
  return {
    shell,
    async run(script) {
      const { exitCode, output } = await shell(script, new AbortController().signal);
      if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${output}`);
      return output;
    },
    async [Symbol.asyncDispose]() {
      holder.kill('SIGKILL');
      await exited;
    },
  };
}

async function finished(child: ChildProcess): Promise<{ exitCode: number; output: string }> {
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => output.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { exitCode: code ?? -1, output: Buffer.concat(output).toString('utf8') };
}
