import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ROOT } from './cli.ts';
import { closedPort } from './zip-server.ts';

export interface Nginx extends AsyncDisposable {
  port: number;
}

/** Debian's package `nginx`, as `scripts/test` has unpacked it, or as it is installed. */
function program(): string {
  const places = [join(ROOT, '.machine/nginx/usr/sbin/nginx'), '/usr/sbin/nginx'];
  const found = places.find((path) => existsSync(path));
  if (!found) throw new Error("nginx is missing; scripts/test unpacks Debian's package nginx");
  return found;
}

/** The server of docs/security.md, with this port, certificate and target in the place of its own. */
async function documentedServer(values: { port: number; certFile: string; keyFile: string; target: string }) {
  const page = await readFile(join(ROOT, 'docs/security.md'), 'utf8');
  const server = /```nginx\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const changes: [RegExp, string][] = [
    [/listen 443 ssl;/, `listen 127.0.0.1:${values.port} ssl;`],
    [/ssl_certificate \S+;/, `ssl_certificate ${values.certFile};`],
    [/ssl_certificate_key \S+;/, `ssl_certificate_key ${values.keyFile};`],
    [/proxy_pass \S+;/, `proxy_pass ${values.target};`],
  ];
  let text = server;
  for (const [pattern, value] of changes) {
    if (!pattern.test(text)) throw new Error(`docs/security.md: ${String(pattern)} is not in the example for nginx`);
    text = text.replace(pattern, value);
  }
  return text;
}

/** An nginx that ends TLS in front of a daemon, as the documentation says. */
export async function startNginx(options: { certFile: string; keyFile: string; target: string }): Promise<Nginx> {
  const dir = await mkdtemp(join(tmpdir(), 'worker-front-nginx-'));
  const port = await closedPort();
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `${kind}_temp_path ${dir}/${kind};`,
  );
  const server = await documentedServer({ ...options, port });
  // One process: what is killed is gone.
  const main = `daemon off; master_process off; pid ${dir}/pid; error_log stderr notice; events {}`;
  await writeFile(join(dir, 'nginx.conf'), `${main}\nhttp { access_log off; ${folders.join(' ')}\n${server}}\n`);
  const child = spawn(program(), ['-p', dir, '-c', join(dir, 'nginx.conf'), '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const said: string[] = [];
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      said.push(line);
      // The ports are open by then.
      if (line.includes('getrlimit')) resolve();
    });
    child.once('close', () => reject(new Error(`nginx ended: ${said.join('\n')}`)));
  });
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
