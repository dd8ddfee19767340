import { systemCode, WorkerFrontError } from '../lib/errors.ts';
import type { HttpApp } from './app.ts';

/** Listens; an address that cannot be had is one clear sentence (`conflict`, `forbidden`, `invalid_setting`). */
export async function listen(http: HttpApp, host: string, port: number): Promise<{ host: string; port: number }> {
  try {
    return await http.listen(port);
  } catch (cause) {
    const where = `${host}:${port}`;
    switch (systemCode(cause) ?? '') {
      case 'EADDRINUSE':
        throw new WorkerFrontError('conflict', `${where} is taken by another program; give another port`, { cause });
      case 'EACCES':
        throw new WorkerFrontError(
          'forbidden',
          `${where} may not be listened on by this user; give a port above 1023`,
          { cause },
        );
      case 'EADDRNOTAVAIL':
      case 'ENOTFOUND':
        throw new WorkerFrontError('invalid_setting', `WORKER_FRONT_HOST: this machine has no address '${host}'`, {
          cause,
        });
      default:
        throw cause;
    }
  }
}
