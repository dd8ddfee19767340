import { randomUUID } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContainerEngine } from '../containers/engine.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { type ContextEntry, folderEntries } from './build-context.ts';
import { type BuildSettings, proxyArgs, settingsEntries } from './build-settings.ts';
import { bundleFacts, type InstallFacts } from './bundle-facts.ts';
import type { BuildLimits, DependencyImages } from './dependency-images.ts';
import { codeDockerfile, compiledDockerfile, withLabels } from './dockerfile.ts';
import type { FunctionImageRequest } from './function-images.ts';
import { type BuildDeps, runBuild } from './image-build.ts';
import { IMAGE_LABELS } from './labels.ts';
import { checkBase } from './own-base.ts';
import { checkOwnDockerfile } from './own-dockerfile.ts';
import { environmentImages } from './recipes.ts';
import type { OwnImage, RuntimeImages } from './runtime-images.ts';

/** Far more than anybody writes, and read in no time. */
const MAX_DOCKERFILE_BYTES = 256 * 1024;

export interface FunctionBuild {
  request: FunctionImageRequest;
  /** Full name with tag. */
  image: string;
  labels: Record<string, string>;
  runtime: OwnImage;
  limits: BuildLimits;
}

export interface FunctionBuildDeps extends BuildDeps {
  engine: Pick<
    ContainerEngine,
    'buildImage' | 'listImages' | 'pruneDanglingImages' | 'inspectImage' | 'removeImage' | 'pullImage'
  >;
  runtimeImages: Pick<RuntimeImages, 'ensureBuildImage'>;
  dependencies: DependencyImages;
  settings: BuildSettings;
  nodeId: string;
}

/** Builds the image of one version in the way that its bundle asks for. */
export async function buildFunctionImage(build: FunctionBuild, deps: FunctionBuildDeps): Promise<void> {
  const { request, runtime } = build;
  const { language } = environmentImages(request.environment);
  const bundle = await folderEntries(request.bundleDir);
  const facts = await bundleFacts(language, bundle);
  if (facts.ownDockerfile) return buildOwn(build, bundle, deps);
  const code = bundle.map((entry) => ({ ...entry, path: `code/${entry.path}` }));
  const install = facts.install;
  if (!install) return run(build, codeDockerfile(runtime.image), code, deps);

  const buildImage = await deps.runtimeImages.ensureBuildImage(request.environment, { signal: build.limits.signal });
  if (language !== 'java' && hasFiles(install)) {
    const wanted = { language, install, code, runtime, build: buildImage };
    return deps.dependencies.use(wanted, build.limits, (image) => run(build, codeDockerfile(image), code, deps));
  }
  const dockerfile = compiledDockerfile(language, install, { runtime: runtime.image, build: buildImage.image });
  return run(build, dockerfile, [...code, ...(await settingsEntries(deps.settings))], deps);
}

async function run(
  { image, labels, limits }: FunctionBuild,
  dockerfile: string,
  entries: ContextEntry[],
  deps: FunctionBuildDeps,
): Promise<void> {
  const stage = dockerfile.includes('COPY --from=') ? `${deps.nodeId}-${randomUUID()}` : undefined;
  const labelled = withLabels(dockerfile, labels);
  await runBuild({ ...limits, tag: image, dockerfile: labelled, entries, stage, cache: false }, deps.settings, deps);
}

/**
 * A bundle's own Dockerfile sees the bundle as its context, and images as build arguments: `RUNTIME_IMAGE`, which it has
 * to build on, and on demand `BUILD_IMAGE` and `BUILD_SETTINGS` (the machine's build settings, for stages that the final
 * image does not contain).
 */
async function buildOwn(build: FunctionBuild, bundle: ContextEntry[], deps: FunctionBuildDeps): Promise<void> {
  const { request, runtime, limits, labels, image } = build;
  const { text: dockerfile, bases } = checkOwnDockerfile(await readOwn(request.bundleDir));
  for (const base of bases) await checkBase(base, limits, deps.engine);
  const buildArgs: Record<string, string> = { RUNTIME_IMAGE: runtime.image, ...proxyArgs(deps.settings) };
  if (/\bBUILD_IMAGE\b/.test(dockerfile)) {
    buildArgs['BUILD_IMAGE'] = (
      await deps.runtimeImages.ensureBuildImage(request.environment, { signal: build.limits.signal })
    ).image;
  }
  const settingsImage = /\bBUILD_SETTINGS\b/.test(dockerfile) ? await buildSettingsImage(build, deps) : undefined;
  if (settingsImage) buildArgs['BUILD_SETTINGS'] = settingsImage;
  // The same mark for all versions: their common layers stay a cache for the next one.
  const stage = `${deps.nodeId}-${request.name}`;
  try {
    await runBuild(
      {
        ...limits,
        tag: image,
        dockerfile,
        entries: bundle,
        labels,
        buildArgs,
        stage,
        cache: true,
      },
      deps.settings,
      deps,
    );
  } finally {
    if (settingsImage) await deps.engine.removeImage(settingsImage);
  }
  await checkOwn(build, deps);
}

async function readOwn(bundleDir: string): Promise<string> {
  const path = join(bundleDir, 'Dockerfile');
  if ((await stat(path)).size <= MAX_DOCKERFILE_BYTES) return readFile(path, 'utf8');
  throw new WorkerFrontError('invalid_function', `Dockerfile: is over ${MAX_DOCKERFILE_BYTES} bytes`, {
    details: { file: 'Dockerfile' },
  });
}

async function buildSettingsImage({ limits }: FunctionBuild, deps: FunctionBuildDeps): Promise<string> {
  const id = randomUUID();
  const tag = `worker-front/build-settings:${id}`;
  const entries = await settingsEntries(deps.settings);
  const labels = { [IMAGE_LABELS.node]: deps.nodeId };
  const dockerfile = 'FROM scratch\nCOPY settings/ /\n';
  await runBuild({ ...limits, tag, dockerfile, entries, labels, stage: id, cache: false }, deps.settings, deps);
  return tag;
}

async function checkOwn({ image, request, runtime }: FunctionBuild, deps: FunctionBuildDeps): Promise<void> {
  const state = await deps.engine.inspectImage(image);
  // By a /clear, or by somebody else: not the Dockerfile's fault.
  if (!state) throw new WorkerFrontError('sandbox_lost', 'the image was removed from this node meanwhile');
  const problem =
    state.labels[IMAGE_LABELS.digest] !== runtime.digest
      ? `its last stage has to be built on the runtime image: ARG RUNTIME_IMAGE, FROM \${RUNTIME_IMAGE} (environment ${request.environment})`
      : state.volumes?.length
        ? `VOLUME (${state.volumes.join(', ')}) is not possible in a function's image`
        : undefined;
  if (problem === undefined) return;
  await deps.engine.removeImage(image);
  throw new WorkerFrontError('invalid_function', `Dockerfile: ${problem}`, { details: { file: 'Dockerfile' } });
}

function hasFiles(install: InstallFacts): install is InstallFacts & { files: string[] } {
  return install.files !== undefined;
}
