// A proxy with servers behind it, and a browser before it. Everything is on loopback, on ports that were free.

import { spawn } from "node:child_process";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PROXY = process.env.PROXY ?? "target/debug/examples/proxy";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** Where pictures of the page are left, to be looked at. */
export const PICTURES = process.env.PICTURES ?? join(tmpdir(), "warren-pictures");
export const USER = { username: "admin", password: "secret" };

const FLAGS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

/** Waits until `check` says something, and fails with the last error after ten seconds. */
export async function eventually(check, what = "it", patience = 10_000) {
  const deadline = Date.now() + patience;
  for (;;) {
    let last;
    try {
      const said = await check();
      if (said) return said;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) throw new Error(`${what} did not happen: ${last ?? "false"}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A TCP server that sends back what it gets, and can be stopped as if its host had died. */
export class Echo {
  constructor() {
    this.sockets = new Set();
  }
  async start(port = 0) {
    this.server = net.createServer((socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    await new Promise((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    this.port = this.server.address().port;
    return this;
  }
  async stop() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The proxy with two groups of servers and its page. */
export class Stage {
  async set() {
    this.directory = await mkdtemp(join(tmpdir(), "warren-browser-"));
    await mkdir(PICTURES, { recursive: true });
    this.echoes = await Promise.all([1, 2, 3].map(() => new Echo().start()));
    this.web = http.createServer((_, response) => response.end("ok"));
    await new Promise((resolve) => this.web.listen(0, "127.0.0.1", resolve));
    const [rabbit, management, page] = await Promise.all([freePort(), freePort(), freePort()]);
    const gone = await freePort();
    Object.assign(this, { rabbit, management });
    this.socket = join(this.directory, "stats.sock");
    return this.serve(page, "haproxy.cfg", `
global
    stats socket ${this.socket} mode 600 level admin
    maxconn 500
    nbthread 2
    node mq-a
defaults
    mode tcp
    timeout connect 2s
    timeout client 60s
    timeout server 60s
listen rabbitmq_cluster
    bind 127.0.0.1:${rabbit}
    balance roundrobin
    server rabbit_1 127.0.0.1:${this.echoes[0].port} check inter 200 rise 2 fall 2
    server rabbit_2 127.0.0.1:${this.echoes[1].port} check inter 200 rise 2 fall 2
    server rabbit_3 127.0.0.1:${gone} check inter 200 rise 2 fall 2
    server rabbit_4 127.0.0.1:${this.echoes[2].port} check inter 200 rise 2 fall 2 backup
    server rabbit_5 127.0.0.1:${this.echoes[2].port} check inter 200 disabled
listen management
    bind 127.0.0.1:${management}
    mode http
    balance leastconn
    server m1 127.0.0.1:${this.web.address().port} check weight 10 maxconn 50
    server m2 127.0.0.1:${this.web.address().port} weight 20
listen stats
    bind 127.0.0.1:${page}
    mode http
    stats enable
    stats uri /rabbitmq-stats
    stats realm Global\\ statistics
    stats auth ${USER.username}:${USER.password}
    stats refresh 5s
    stats admin if TRUE
`);
  }

  /** Starts the proxy with such a file, whose page is on this port, and the browser. */
  async serve(port, name, text) {
    this.url = `http://127.0.0.1:${port}/rabbitmq-stats`;
    const file = join(this.directory, name);
    await writeFile(file, text);
    this.proxy = spawn(PROXY, [file], { stdio: ["ignore", "ignore", "pipe"] });
    this.said = "";
    this.proxy.stderr.on("data", (part) => { this.said = (this.said + part).slice(-20_000); });
    await eventually(async () => (await this.fetch(";csv")).ok, `start of ${PROXY}: ${this.said}`);
    this.browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
    return this;
  }

  async strike() {
    await this.browser?.close();
    this.proxy?.kill("SIGKILL");
    await this.clear();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** What was behind the proxy goes, too. */
  async clear() {
    await Promise.all(this.echoes.map((echo) => echo.stop()));
    this.web.closeAllConnections();
    this.web.close();
  }

  /** As a program would. */
  fetch(rest = "", options = {}) {
    const authorization = "Basic " + btoa(`${USER.username}:${USER.password}`);
    return fetch(this.url + rest, { redirect: "manual", ...options, headers: { authorization, ...options.headers } });
  }

  /** A command of the runtime socket. */
  command(line) {
    return new Promise((resolve, reject) => {
      let answer = "";
      const socket = net.connect(this.socket, () => socket.write(line + "\n"));
      socket.on("data", (part) => { answer += part; }).on("end", () => resolve(answer)).on("error", reject);
    });
  }

  /** A client of the TCP frontend. */
  async client() {
    const socket = net.connect(this.rabbit, "127.0.0.1");
    socket.on("error", () => {});
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.write("hello");
    await new Promise((resolve) => socket.once("data", resolve));
    return socket;
  }

  /** The page in a tab of its own; `problems` collects what a console would show and every foreign request. */
  async open({ rest = "", ...options } = {}) {
    const context = await this.browser.newContext({ httpCredentials: USER, viewport: { width: 1680, height: 1000 }, ...options });
    const page = await context.newPage();
    page.problems = [];
    page.on("console", (message) => { if (message.type() === "error") page.problems.push(message.text()); });
    page.on("pageerror", (error) => page.problems.push(error.message));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(new URL(this.url).origin) && !url.startsWith("data:")) page.problems.push("foreign request: " + url);
    });
    await page.goto(this.url + rest);
    return page;
  }
}

/** The proxy, in mode amqp, with a real broker. */
export class Brokered extends Stage {
  async set() {
    this.directory = await mkdtemp(join(tmpdir(), "warren-browser-"));
    await mkdir(PICTURES, { recursive: true });
    const [broker, distribution, epmd, front, page] = await Promise.all([1, 2, 3, 4, 5].map(freePort));
    this.front = front;
    const at = (name) => join(this.directory, name);
    await writeFile(at("enabled_plugins"), "[].");
    await writeFile(at("rabbitmq.conf"), "");
    this.environment = {
      ...process.env,
      HOME: this.directory,
      ERL_EPMD_PORT: epmd,
      ERL_EPMD_ADDRESS: "127.0.0.1",
      RABBITMQ_NODENAME: "browser@localhost",
      RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
      RABBITMQ_NODE_PORT: broker,
      RABBITMQ_DIST_PORT: distribution,
      RABBITMQ_MNESIA_BASE: at("mnesia"),
      RABBITMQ_LOG_BASE: at("log"),
      RABBITMQ_LOGS: "-",
      RABBITMQ_ENABLED_PLUGINS_FILE: at("enabled_plugins"),
      RABBITMQ_CONFIG_FILE: at("rabbitmq.conf"),
      RABBITMQ_PID_FILE: at("pid"),
      // One scheduler that does not spin.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "+S 1:1 +sbwt none",
    };
    this.broker = spawn("/usr/lib/rabbitmq/bin/rabbitmq-server", { env: this.environment, stdio: "ignore" });
    await this.serve(page, "warren.toml", `
[proxy.listen.rabbitmq]
bind = "127.0.0.1:${front}"
mode = "amqp"
[proxy.listen.rabbitmq.servers]
rabbit1 = "127.0.0.1:${broker}"
[proxy.listen.stats]
bind = "127.0.0.1:${page}"
mode = "http"
stats = { uri = "/rabbitmq-stats", users = { ${USER.username} = "${USER.password}" }, admin = true }
`);
    const up = async () => /^rabbitmq,rabbit1,.*,UP,.*,L7OK,/m.test(await (await this.fetch(";csv")).text());
    // Erlang on a busy machine.
    await eventually(up, "the broker's start", 100_000);
    return this;
  }

  async clear() {
    const run = (program, ...words) =>
      new Promise((resolve) => spawn(program, words, { env: this.environment, stdio: "ignore" }).once("close", resolve));
    const ended = new Promise((resolve) => this.broker.once("close", resolve));
    this.broker.kill("SIGTERM");
    await ended;
    await run("epmd", "-port", String(this.environment.ERL_EPMD_PORT), "-kill");
  }

  /** The broker's administrator. */
  control(...words) {
    return new Promise((resolve, reject) => {
      const program = spawn("/usr/lib/rabbitmq/bin/rabbitmqctl", words, { env: this.environment, stdio: "ignore" });
      program.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`rabbitmqctl ${words.join(" ")}: ${code}`))));
    });
  }

  /** A client that does as it is told; `say` waits until it has. */
  async client() {
    const program = spawn("/usr/bin/python3", ["client.py", this.front], { stdio: ["pipe", "pipe", "inherit"] });
    const answer = () => new Promise((resolve, reject) => {
      program.stdout.once("data", (line) => resolve(String(line).trim()));
      program.once("close", () => reject(new Error("the client has ended")));
    });
    const version = await answer();
    return {
      version,
      say: (words) => {
        const said = answer();
        program.stdin.write(words + "\n");
        return said;
      },
      end: () => program.stdin.end(),
    };
  }
}

/** A row of the table. */
export const row = (page, key) => page.locator(`tr[data-key="${key}"]`);
/** Its status. */
export const status = (page, key) => row(page, key).locator(".status");
