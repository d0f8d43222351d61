// The table of connections with real AMQP sessions: a RabbitMQ from the distribution, and the client library that most
// programs in Python use.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { Brokered, PICTURES, eventually } from "./harness.mjs";

const stage = new Brokered();
before(() => stage.set(), { timeout: 120_000 });
after(() => stage.strike(), { timeout: 60_000 });

/** What stands in each column, by its title. */
async function columns(page, session) {
  const titles = await page.locator("#clients thead th").allTextContents();
  const cells = await session.locator("td").allTextContents();
  return Object.fromEntries(titles.map((title, place) => [title.replace(/[▲▼↑↓\s]+$/, ""), cells[place]?.replaceAll("\u202f", " ")]));
}

test("who is connected, to what, with what and how, is in the table, and follows what the client does", async () => {
  const client = await stage.client();
  const page = await stage.open({ viewport: { width: 2200, height: 1000 } });
  await page.locator("#clients summary").click();
  const session = page.locator("#clients tbody tr", { hasText: "Pika" });
  await session.waitFor();
  const is = (title, wanted) =>
    eventually(async () => {
      const value = (await columns(page, session))[title];
      if (wanted instanceof RegExp ? wanted.test(value) : value === wanted) return true;
      throw new Error(`${title}: ${value}`);
    }, `${title} ${wanted}`);
  await is("User", "guest");
  await is("Vhost", "/");
  await is("Program", `Pika Python Client Library ${client.version}`);
  await is("Heartbeat", "45s");
  await is("Channels", "1");
  await is("Server", "rabbitmq/rabbit1");
  await is("Blocked", "");
  assert.equal(await session.locator("td").first().getAttribute("title"), "a connection's own name");

  await client.say("open");
  await client.say("open");
  await is("Channels", "3");
  await client.say("close");
  await is("Channels", "2");

  // Rates are those of the moment.
  await client.say("publish");
  await is("In/s", /[1-9].*B/);
  await client.say("rest");
  await is("In/s", "0 B");

  // The broker is quicker than this consumer: deliveries wait for it.
  await client.say("publish 3000");
  await client.say("consume slowly");
  await is("Out/s", /[1-9].*B/);
  await is("Unsent", /[1-9].*B/);
  await page.screenshot({ path: join(PICTURES, "amqp-unsent.png"), fullPage: true });
  await client.say("consume quickly");
  await is("Unsent", "");

  // A broker without memory says so to whoever publishes.
  await stage.control("set_vm_memory_high_watermark", "0.000001");
  await client.say("publish 1");
  await is("Blocked", /memory/);
  await page.screenshot({ path: join(PICTURES, "amqp-blocked.png"), fullPage: true });
  await stage.control("set_vm_memory_high_watermark", "0.4");
  await is("Blocked", "");

  client.end();
  await session.waitFor({ state: "detached" });
  assert.deepEqual(page.problems, []);
  await page.context().close();
});
