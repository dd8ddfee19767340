import { once } from 'node:events';
import { type BenchPart, inTurn, unpackNoop } from '../context.ts';
import { BenchDaemon } from '../lib/daemon-process.ts';
import { measureBoot } from '../limits/bootstrap.ts';
import type { ImageRoot } from '../limits/image-root.ts';
import type { Comparison } from '../result.ts';

/** What each language's own start is measured by, and how much later than that the bootstrap may be ready, in milliseconds. */
const STARTS = {
  python: { command: ['python3', '-c', 'pass'], aimMs: 15 },
  nodejs: { command: ['node', '-e', '0'], aimMs: 15 },
  java: { command: ['java', '-XX:TieredStopAtLevel=1', '-version'], aimMs: 60 },
};

/** Start of each bootstrap until its handler is loaded, as a plain process, beside the language's own start. */
export const bootPart: BenchPart = {
  name: 'boot',
  title: 'Boot of the bootstraps, without a container',
  async run(context) {
    const comparisons: Comparison[] = [];
    await using daemon = await BenchDaemon.start({ STEM_SANDBOXES: '0' });
    for (const language of context.languages) {
      const { command, aimMs } = STARTS[language.name];
      const root = await unpackNoop(context, daemon, language);
      const ours: number[] = [];
      const bare: number[] = [];
      try {
        await measureBoot(root);
        await inTurn(
          Math.max(9, context.rounds),
          async () => {
            const { hello, load } = await measureBoot(root);
            ours.push(hello + load);
          },
          async () => void bare.push(await languageStart(root, command)),
        );
      } finally {
        await root.close();
      }
      comparisons.push(
        {
          what: `${language.name}: to ready`,
          unit: 'ms',
          ours,
          limitName: `L4 + ${aimMs} ms`,
          limit: bare.map((ms) => ms + aimMs),
          aim: { at: 'most', ratio: 1 },
        },
        { what: `${language.name}: to ready`, unit: 'ms', ours, limitName: `L4: ${command.join(' ')}`, limit: bare },
      );
    }
    return { comparisons };
  },
};

/** L4: milliseconds of the language's own start and end. */
async function languageStart(root: ImageRoot, command: string[]): Promise<number> {
  const began = performance.now();
  const child = root.run(command);
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}`);
  return performance.now() - began;
}
