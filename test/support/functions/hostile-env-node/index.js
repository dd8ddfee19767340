const { env } = require('node:process');

exports.handle = () => env.MINE;
