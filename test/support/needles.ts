import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import Docker from 'dockerode';

/** A value in the forms in which it could lie about: as it is, encoded, or as a hash that can be guessed at. */
export function formsOf(value: string): string[] {
  const bytes = Buffer.from(value);
  const sha256 = createHash('sha256').update(bytes).digest();
  const encoded = bytes.toString('base64').replace(/=+$/, '');
  return [value, encoded, bytes.toString('hex'), sha256.toString('hex'), sha256.toString('base64')];
}

/** Those of the values that occur in a text or in anything that can be written as JSON. */
export function foundIn(what: unknown, values: readonly string[]): string[] {
  const text = typeof what === 'string' ? what : JSON.stringify(what);
  return values.filter((value) => formsOf(value).some((form) => text.includes(form)));
}

/** Files below a folder that hold one of the values; sockets and links are passed over. */
export async function filesWith(dir: string, values: readonly string[]): Promise<{ found: string[]; looked: number }> {
  const found: string[] = [];
  let looked = 0;
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    looked += 1;
    try {
      if (foundIn(await contentOf(path), values).length > 0) found.push(path);
    } catch (error) {
      // Gone meanwhile.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return { found, looked };
}

async function contentOf(path: string): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of createReadStream(path)) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('latin1');
}

/** All that the machine's engine tells of a node's containers and of the images that they and the node have. */
export async function engineWords(node: string): Promise<{ containers: number; images: number; words: unknown[] }> {
  const docker = new Docker();
  const filters = { label: [`io.worker-front.node=${node}`] };
  const containers = await docker.listContainers({ all: true, filters });
  // Of one that goes meanwhile the list has told.
  const asked = await Promise.all(containers.map(({ Id }) => ifThere(docker.getContainer(Id).inspect())));
  const inspected = asked.filter((one) => one !== undefined);
  const own = await docker.listImages({ filters });
  const images = new Set([...inspected.map(({ Image }) => Image), ...own.map(({ Id }) => Id)]);
  const words: unknown[] = [containers, inspected, own];
  for (const id of images) words.push(await docker.getImage(id).inspect(), await docker.getImage(id).history());
  return { containers: containers.length, images: images.size, words };
}

async function ifThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if ((error as { statusCode?: number }).statusCode === 404) return undefined;
    throw error;
  }
}
