console.log('waiting');
await new Promise(() => setInterval(() => {}, 60_000));
