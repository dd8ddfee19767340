import { WorkerFrontError } from '../lib/errors.ts';
import { readDockerfile } from './dockerfile-instructions.ts';

/** Images that the daemon gives to a build, as build arguments. */
const GIVEN = /^\$(?:\{(?:RUNTIME_IMAGE|BUILD_IMAGE|BUILD_SETTINGS)\}|(?:RUNTIME_IMAGE|BUILD_IMAGE|BUILD_SETTINGS))$/;

/** A name and nothing else: what the engine would first unquote, unescape or put variables into is none. */
const NAME = /^[a-z0-9][a-z0-9._/:@-]*$/i;

/** The engine takes the beginning of an image's id for the image, whoever has made it. */
const ID = /^(?:sha256:)?[0-9a-f]+$/i;

/** What the engine takes for space between options (Go's `unicode.IsSpace`), and more. */
const SPACES = /[\s\u0085]+/;

/** Images of functions, of their dependencies, of build settings: every repository that the daemon gives a name. */
const OURS = /^(?:(?:index\.)?docker\.io\/)?(?:library\/)?(?:hf_|worker-front\/)/i;

export interface CheckedDockerfile {
  /** The text that has been looked through: the one to build. */
  text: string;
  /** Names of the images that stages start from and that are not the daemon's. Their `ONBUILD` lines are instructions too. */
  bases: string[];
}

/**
 * Looks through a bundle's own Dockerfile for what walls around the build's containers would not stop, as the engine
 * does it itself: fetching an address (`ADD`; the engine reaches this machine's services and a cloud's metadata), and
 * handing over files of images that belong to other functions (`FROM`, `COPY --from`). Throws `invalid_function`.
 * https://docs.docker.com/reference/dockerfile/
 */
export function checkOwnDockerfile(dockerfile: string): CheckedDockerfile {
  const { instructions, canonical } = readDockerfile(dockerfile);
  const stages = new Set<string>();
  const bases = new Set<string>();
  // For the engine a stage has its name when it is complete: until then the name is one of an image.
  let stage: string | undefined;
  let last: string[] = [];
  for (const instruction of instructions) {
    const [keyword = '', ...words] = instruction.replace(/^(?:ONBUILD\s+)+/i, '').split(SPACES);
    switch (keyword.toUpperCase()) {
      case 'ADD':
        checkAdd(instruction);
        break;
      case 'COPY':
        checkCopy(instruction, words, stages);
        break;
      case 'FROM': {
        if (stage !== undefined) stages.add(stage);
        const from = checkFrom(instruction, words, stages);
        if (from.base !== undefined) bases.add(from.base);
        stage = from.stage;
        last = [];
        break;
      }
      default:
        last.push(keyword.toUpperCase());
    }
  }
  const started = last.find((keyword) => keyword === 'ENTRYPOINT' || keyword === 'CMD');
  if (started !== undefined) refuse(`${started} is not possible: the runtime of the image has to start; leave it out`);
  return { text: canonical, bases: [...bases] };
}

function checkAdd(instruction: string): void {
  // Escapes, quotes and JSON's \u may all be part of what becomes an address.
  if (!/[$\\`]/.test(instruction) && !/:\/\/|git@/.test(instruction.replace(/["']/g, ''))) return;
  refuse(
    `'${short(instruction)}': ADD takes files of the function only, without variables. Download in a RUN step instead`,
  );
}

function checkCopy(instruction: string, words: readonly string[], stages: ReadonlySet<string>): void {
  for (const flag of leadingFlags(instruction, words)) {
    const from = /^--from=(.*)$/i.exec(flag)?.[1];
    // A number alone is a stage's; the engine looks for no image then.
    if (from !== undefined && !/^\d+$/.test(from)) checkImage(instruction, from, stages);
  }
}

function checkFrom(instruction: string, words: readonly string[], stages: ReadonlySet<string>) {
  const [image = '', as, name] = words;
  // With another platform the engine would fetch another image than the one that the daemon has looked at.
  if (image.startsWith('--')) refuse(`'${short(instruction)}': FROM takes no options`);
  checkImage(instruction, image, stages);
  const own = stages.has(image.toLowerCase()) || GIVEN.test(image) || image === 'scratch';
  return { base: own ? undefined : image, stage: as?.toUpperCase() === 'AS' ? name?.toLowerCase() : undefined };
}

/** The `--x=y` words in front. Escapes and quotes could make words that we would not see as the engine does. */
function leadingFlags(instruction: string, words: readonly string[]): string[] {
  const end = words.findIndex((word) => !word.startsWith('--'));
  const flags = words.slice(0, end === -1 ? words.length : end);
  if (flags.some((flag) => /["'\\`]/.test(flag)))
    refuse(`'${short(instruction)}': quotes and escapes are not possible in options`);
  return flags;
}

function checkImage(instruction: string, image: string, stages: ReadonlySet<string>): void {
  if (stages.has(image.toLowerCase()) || GIVEN.test(image)) return;
  if (NAME.test(image) && !ID.test(image) && !OURS.test(image)) return;
  refuse(
    `'${short(instruction)}': takes an earlier stage, RUNTIME_IMAGE, BUILD_IMAGE, BUILD_SETTINGS, or the full name of an image (debian:bookworm-slim), but no image id, no other variable and no image of another function`,
  );
}

function short(instruction: string): string {
  return instruction.slice(0, 200);
}

function refuse(problem: string): never {
  throw new WorkerFrontError('invalid_function', `Dockerfile: ${problem}`, { details: { file: 'Dockerfile' } });
}
