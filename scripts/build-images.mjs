// Builds (or finds) the images of environments. Settings come as for the daemon: environment and `.env`.
// Usage: node scripts/build-images.mjs [--with-build-images] <environment...>   (after `npm run build`)
import { loadConfig } from '../dist/config/load.js';
import { parseDockerHost } from '../dist/containers/docker/connection.js';
import { createDockerEngine } from '../dist/containers/docker/engine.js';
import { createRuntimeImages } from '../dist/images/runtime-images.js';
import { systemClock } from '../dist/lib/clock.js';
import { silentLogger } from '../dist/lib/logger.js';

const environments = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const withBuildImages = process.argv.includes('--with-build-images');

const { build, engine: connection } = loadConfig({ envFile: '.env', flags: { CODE_SOURCE: 'file:///' } });
const engine = createDockerEngine({
  connection: parseDockerHost({
    host: connection.host,
    tlsVerify: connection.tlsVerify ? '1' : '',
    certPath: connection.certPath,
    homeDir: process.env.HOME,
  }),
});
const images = createRuntimeImages(
  { settings: build, baseImage: build.baseImage },
  { engine, clock: systemClock, logger: silentLogger },
);

try {
  // All at once: while one downloads, another unpacks.
  await Promise.all(
    environments.flatMap((environment) => [
      report(environment, images.ensure(environment)),
      ...(withBuildImages ? [report(`${environment}-build`, images.ensureBuildImage(environment))] : []),
    ]),
  );
} catch (error) {
  console.error(`error: ${error.message}`);
  for (const line of error.details?.output ?? []) console.error(`  | ${line}`);
  process.exitCode = 1;
} finally {
  await images.close();
  await engine.close();
}

async function report(name, pending) {
  const started = performance.now();
  const { image, built } = await pending;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(built ? `    ${name}: built ${image} in ${seconds} s` : `    ${name}: ${image} is there`);
}
