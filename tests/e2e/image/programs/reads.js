// Files as Node reads them: promises, streams, callbacks, and a watch by stat(2).
const fs = require("fs"), crypto = require("crypto"), path = require("path");
const { pipeline } = require("stream/promises");
const DATA = "/srv/data";

async function main() {
    for (const name of (await fs.promises.readdir(DATA)).sort()) {
        const found = await fs.promises.lstat(path.join(DATA, name)).catch((error) => ({ code: error.code }));
        console.log("lstat", name, found.size, found.mode, found.mtimeMs, found.code);
    }
    console.log("readFile", (await fs.promises.readFile(`${DATA}/lines`, "utf8")).length);
    const sum = crypto.createHash("sha256");
    await pipeline(fs.createReadStream(`${DATA}/large`), sum);
    console.log("stream", sum.digest("hex"));
    await pipeline(fs.createReadStream(`${DATA}/large`, { start: 1000, end: 1999 }), fs.createWriteStream("/tmp/part-of-node"));
    console.log("part", fs.statSync("/tmp/part-of-node").size);
    fs.unlinkSync("/tmp/part-of-node");
    console.log("realpath", fs.realpathSync(`${DATA}/absolute`), fs.realpathSync.native(`${DATA}/link`), fs.readlinkSync(`${DATA}/dangling`));
    console.log("exists", fs.existsSync(`${DATA}/none`), await fs.promises.access(`${DATA}/short`, fs.constants.R_OK));
    await fs.promises.open(`${DATA}/none`).catch((error) => console.log("open", error.code));
    const folder = await fs.promises.opendir(`${DATA}/deep`, { recursive: false });
    for await (const entry of folder) console.log("opendir", entry.name, entry.isDirectory());
}
main();
