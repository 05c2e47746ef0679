// Node: libuv's sockets, c-ares or getaddrinfo. Prints the body of GET argv[2].
require("http")
  .get(process.argv[2], (answer) => answer.pipe(process.stdout))
  .on("error", (error) => {
    console.error(String(error));
    process.exitCode = 1;
  });
