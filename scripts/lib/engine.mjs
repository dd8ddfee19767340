// The few engine calls that the scripts need; works without the docker command line client.
// Usage: node engine.mjs ping | has-image <name> | pull <name> <seconds> | import <name> < root.tar | containers | networks
//        | stuck-networks | remove-run <id of a test run>
import { pipeline } from 'node:stream/promises';
import Docker from 'dockerode';

const [command, name, seconds] = process.argv.slice(2);
const docker = new Docker();

const commands = {
  async ping() {
    await docker.ping({ abortSignal: AbortSignal.timeout(5000) });
  },
  async 'has-image'() {
    await docker.getImage(name).inspect();
  },
  async pull() {
    const abortSignal = AbortSignal.timeout(Number(seconds) * 1000);
    const stream = await docker.pull(name, { abortSignal });
    abortSignal.addEventListener('abort', () => stream.destroy(abortSignal.reason));
    await readProgress(stream);
  },
  async import() {
    const stream = await docker.importImage(process.stdin, {
      repo: name,
      changes: ['CMD ["bash"]', 'LABEL io.worker-front.base=debootstrap'],
    });
    await readProgress(stream);
  },
  async containers() {
    // Without the image: its name here changes when somebody takes the tag.
    for (const { Id, Names } of await docker.listContainers({ all: true })) {
      console.log(`${Id.slice(0, 12)} ${Names.join(' ')}`);
    }
  },
  async networks() {
    for (const { Id, Name } of await docker.listNetworks()) console.log(`${Id.slice(0, 12)} ${Name}`);
  },
  // Networks that nothing is attached to and that the engine does not let go: it miscounts when containers are killed while
  // they start, until its own next start. Tried out, so only networks of test runs; each with the name of its bridge.
  async 'stuck-networks'() {
    const filters = { label: ['io.worker-front.test-run'] };
    for (const { Id, Name, Options } of await docker.listNetworks({ filters })) {
      const network = docker.getNetwork(Id);
      const { Containers } = await network.inspect();
      if (Object.keys(Containers ?? {}).length > 0) continue;
      const error = await network.remove().catch((reason) => reason);
      if (error?.statusCode === 403)
        console.log(`${Id.slice(0, 12)} ${Name} ${Options['com.docker.network.bridge.name']}`);
    }
  },
  async 'remove-run'() {
    const filters = { label: [`io.worker-front.test-run=${name}`] };
    for (const { Id } of await docker.listContainers({ all: true, filters })) {
      await docker.getContainer(Id).remove({ force: true, v: true });
    }
    // One that is stuck has been told of.
    for (const { Id } of await docker.listNetworks({ filters }))
      await docker
        .getNetwork(Id)
        .remove()
        .catch(() => {});
    for (const { Id } of await docker.listImages({ filters })) await docker.getImage(Id).remove({ force: true });
  },
};

// The engine answers 200 and tells errors inside the stream: every line counts.
async function readProgress(stream) {
  let rest = '';
  await pipeline(stream, async (chunks) => {
    for await (const chunk of chunks) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const line of lines.filter(Boolean)) {
        const message = JSON.parse(line);
        if (message.error) throw new Error(message.error);
      }
    }
  });
}

try {
  await commands[command]();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
