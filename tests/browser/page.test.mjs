// The statistics page in a real browser: what it shows, that it keeps up, and that it does what it is told.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { Echo, PICTURES, Stage, eventually, row, status } from "./harness.mjs";

const stage = new Stage();
before(() => stage.set());
after(() => stage.strike());

const cluster = (name) => `rabbitmq_cluster/${name}`;
const text = async (locator) => (await locator.textContent()).replaceAll("\u202f", " ");
const hasClass = (page, key, wanted) =>
  eventually(async () => (await row(page, key).getAttribute("class")) === wanted, `${key} as ${wanted}`);

test("nobody sees anything without the password", async () => {
  const context = await stage.browser.newContext();
  for (const rest of ["", ";csv", ";page.js", ";live", ";sessions"]) {
    const answer = await context.request.get(stage.url + rest);
    assert.equal(answer.status(), 401);
    assert.equal(answer.headers()["www-authenticate"], 'Basic realm="Global statistics"');
    assert.ok(!(await answer.text()).includes("rabbit"));
  }
  // The browser itself asks its user, and there is none.
  const page = await context.newPage();
  await assert.rejects(page.goto(stage.url), /AUTH_CREDENTIALS/);
  await context.close();
});

test("every proxy and server is there with HAProxy's columns and colours", async () => {
  const page = await stage.open();
  await eventually(async () => (await text(status(page, cluster("rabbit_3")))).includes("DOWN"), "rabbit_3 down");
  for (const [name, look] of [
    ["rabbit_1", "active_up"], ["rabbit_3", "active_down"], ["rabbit_4", "backup_up"], ["rabbit_5", "maintain"],
    ["FRONTEND", "frontend"], ["BACKEND", "backend"],
  ]) await hasClass(page, cluster(name), look);
  await hasClass(page, "management/m2", "active_no_check");
  const groups = await page.locator(".proxy").first().locator("th.group").allTextContents();
  assert.deepEqual(groups, ["Queue", "Session rate", "Sessions", "Bytes", "Denied", "Errors", "Warnings", "Server"]);
  assert.match(await text(row(page, cluster("rabbit_3"))), /L4CON in \d+ms/);
  assert.match(await text(page.locator('[data-tile="connections"]')), /of 500/);
  await page.screenshot({ path: join(PICTURES, "light.png") });
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("what happens is seen without a reload", async () => {
  const page = await stage.open();
  await page.evaluate(() => { window.notReloaded = true; });
  const cell = (key, number) => row(page, key).locator("td:not(.pick, .line)").nth(number);
  const clients = await Promise.all([stage.client(), stage.client(), stage.client()]);
  await eventually(async () => (await text(cell(cluster("FRONTEND"), 6))) === "3", "three sessions");
  await stage.echoes[0].stop();
  await hasClass(page, cluster("rabbit_1"), "active_down");
  stage.echoes[0] = await new Echo().start(stage.echoes[0].port);
  await hasClass(page, cluster("rabbit_1"), "active_up");
  await eventually(async () => (await row(page, cluster("FRONTEND")).locator("td.line path").count()) > 0, "a line");
  clients.forEach((client) => client.destroy());
  await eventually(async () => (await text(cell(cluster("FRONTEND"), 6))) === "0", "no session");
  assert.equal(await page.evaluate(() => window.notReloaded), true);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("a server that is added or removed appears and goes without a reload", async () => {
  const page = await stage.open();
  await page.evaluate(() => { window.notReloaded = true; });
  await stage.command(`add server management/m3 127.0.0.1:${stage.echoes[2].port} weight 3`);
  await hasClass(page, "management/m3", "maintain");
  await stage.command("del server management/m3");
  await eventually(async () => (await row(page, "management/m3").count()) === 0, "m3 gone");
  assert.equal(await page.evaluate(() => window.notReloaded), true);
  await page.context().close();
});

test("an action does what it says, and says so", async () => {
  const page = await stage.open();
  await row(page, cluster("rabbit_2")).locator("input").check();
  const form = page.locator("#rabbitmq_cluster form");
  await form.locator("select").selectOption("drain");
  await form.getByRole("button", { name: "Apply" }).click();
  await page.getByText("Done.").waitFor();
  await hasClass(page, cluster("rabbit_2"), "active_draining");
  assert.equal(await row(page, cluster("rabbit_2")).locator("input").isChecked(), false);
  await row(page, cluster("rabbit_2")).locator("input").check();
  await form.locator("select").selectOption("ready");
  await form.getByRole("button", { name: "Apply" }).click();
  await hasClass(page, cluster("rabbit_2"), "active_up");
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("without scripts the page is complete, reloads itself, and its forms work", async () => {
  const page = await stage.open({ javaScriptEnabled: false });
  assert.equal(await page.locator("tr[data-key]").count(), 7 + 4 + 2);
  assert.ok((await page.content()).includes('<meta http-equiv="refresh" content="5">'));
  assert.equal(await page.locator("#filter").isVisible(), false);
  await row(page, cluster("rabbit_2")).locator("input").check();
  await page.locator("#rabbitmq_cluster select").selectOption("maint");
  await page.locator("#rabbitmq_cluster button").click();
  await page.waitForURL(/;st=DONE/);
  assert.match(await text(page.locator(".told")), /Done\./);
  assert.equal(await row(page, cluster("rabbit_2")).getAttribute("class"), "maintain");
  await stage.command("set server rabbitmq_cluster/rabbit_2 state ready");
  await page.context().close();
});

test("scripts that post HAProxy's forms work, and forms of other sites do not", async () => {
  const body = new URLSearchParams({ s: "rabbit_2", b: "rabbitmq_cluster", action: "maint" });
  const foreign = await stage.fetch("", { method: "POST", body, headers: { origin: "http://evil.example" } });
  assert.equal(foreign.headers.get("location"), "/rabbitmq-stats;st=DENY");
  assert.ok((await stage.command("show stat")).match(/rabbitmq_cluster,rabbit_2,.*,UP( \d\/\d)?,/));
  const ours = await stage.fetch("", { method: "POST", body });
  assert.equal(ours.status, 303);
  assert.equal(ours.headers.get("location"), "/rabbitmq-stats;st=DONE");
  assert.ok((await stage.command("show stat")).match(/rabbitmq_cluster,rabbit_2,.*,MAINT,/));
  await stage.command("set server rabbitmq_cluster/rabbit_2 state ready");
});

test("the reader's language is spoken, and can be changed", async () => {
  const page = await stage.open({ locale: "zh-CN" });
  assert.equal(await page.locator("html").getAttribute("lang"), "zh");
  assert.match(await text(page.locator('[data-tile="uptime"]')), /运行时间/);
  await page.locator("tr[data-key] th.name").nth(1).click();
  await page.locator("dialog[open]").getByText("检查记录").waitFor();
  await page.screenshot({ path: join(PICTURES, "chinese.png") });
  await page.keyboard.press("Escape");
  await page.getByRole("link", { name: "English" }).click();
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  await page.getByText("Uptime").waitFor();
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("on a phone nothing has to be moved sideways to be seen", async () => {
  const page = await stage.open({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  await eventually(async () => (await page.locator("td.line path").count()) > 0, "a line");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${wide} pixels too wide`);
  assert.equal(await status(page, cluster("rabbit_1")).isVisible(), true);
  const box = await status(page, cluster("rabbit_1")).boundingBox();
  assert.ok(box.x + box.width <= 390, `the status ends at ${box.x + box.width}`);
  await page.screenshot({ path: join(PICTURES, "phone.png"), fullPage: true });
  await row(page, cluster("rabbit_1")).locator("th.name").tap();
  await page.locator("dialog[open]").getByText("Sessions · Total").waitFor();
  await page.screenshot({ path: join(PICTURES, "phone-detail.png") });
  await page.context().close();
});

test("rows are filtered, and servers that are down hidden", async () => {
  const page = await stage.open();
  await page.locator("#filter").fill("rabbit_4");
  assert.equal(await row(page, cluster("rabbit_4")).isVisible(), true);
  assert.equal(await row(page, cluster("rabbit_1")).isVisible(), false);
  assert.equal(await page.locator("#management").isVisible(), false);
  await page.locator("#filter").fill("");
  await page.locator("#hide-down").click();
  assert.equal(await row(page, cluster("rabbit_3")).isVisible(), false);
  assert.equal(await row(page, cluster("rabbit_1")).isVisible(), true);
  await page.locator("#hide-down").click();
  assert.equal(await row(page, cluster("rabbit_3")).isVisible(), true);
  await page.context().close();
});

test("connections are listed, sorted, and can be ended", async () => {
  const page = await stage.open({ colorScheme: "dark" });
  const clients = await Promise.all([stage.client(), stage.client()]);
  await page.locator("#clients summary").click();
  const port = clients[0].localPort;
  const session = page.locator("#clients tbody tr", { hasText: `127.0.0.1:${port}` });
  await session.waitFor();
  assert.match(await text(session), /rabbitmq_cluster\/rabbit_/);
  await page.locator("#clients th button").first().click();
  await page.locator('#clients th[aria-sort="ascending"]').waitFor();
  await page.screenshot({ path: join(PICTURES, "connections-dark.png"), fullPage: true });
  page.on("dialog", (dialog) => dialog.accept());
  const ended = new Promise((resolve) => clients[0].once("close", resolve));
  await session.getByRole("button").click();
  await ended;
  await session.waitFor({ state: "detached" });
  clients[1].destroy();
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("a server tells how it was checked and what became of it", async () => {
  const page = await stage.open();
  await eventually(async () => (await page.locator("td.line path").count()) > 0, "history");
  await row(page, cluster("rabbit_3")).locator("th.name").click();
  const dialog = page.locator("dialog[open]");
  await dialog.getByText("Connection refused").first().waitFor();
  assert.match(await text(dialog), /TCP, every 200ms; up after 2 successes, down after 2 failures/);
  assert.match(await text(dialog), /Gets no connections: its checks failed\./);
  await page.screenshot({ path: join(PICTURES, "detail.png") });
  await dialog.getByRole("button", { name: "Close" }).click();
  assert.equal(await page.locator("dialog[open]").count(), 0);
  assert.deepEqual(page.problems, []);
  await page.context().close();
});

test("it can be paused, and the light be changed", async () => {
  const page = await stage.open({ colorScheme: "light" });
  await page.getByRole("button", { name: "Pause" }).click();
  assert.equal(await page.locator("#pulse").getAttribute("data-state"), "paused");
  const colour = () => page.evaluate(() => getComputedStyle(document.body.parentElement).backgroundColor);
  const light = await colour();
  await page.locator("#theme").click();
  assert.notEqual(await colour(), light);
  await page.getByRole("button", { name: "Resume" }).click();
  await eventually(async () => (await page.locator("#pulse").getAttribute("data-state")) === "live", "live again");
  await page.context().close();
});

test("the exports are those of the runtime socket", async () => {
  const csv = await (await stage.fetch(";csv;norefresh")).text();
  const socket = await stage.command("show stat");
  const names = (lines) => lines.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => line.split(",", 2).join("/"));
  assert.deepEqual(names(csv), names(socket));
  assert.equal(csv.split("\n")[0], socket.split("\n")[0]);
  const json = await (await stage.fetch(";json;norefresh")).json();
  assert.equal(json.length, names(csv).length);
});
