// The pages in a real browser, over the demo's storm: what a person sees and does, with and without scripts, in both
// themes and two widths. Fails on any console error, any broken content policy and any request to another origin.
//
// Absent on purpose: what the HTTP answers hold; the tests in Rust see to that.
// Run by `./dev test`, which sets QUELL (the program), QUELL_CHROMIUM and QUELL_E2E_OUT (a folder for pictures).

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const patience = 120_000;
const attack = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> & "quoted"';

let browser, quell, origin, pictures, problem;

function setting(name) {
  assert.ok(process.env[name], `${name} is not set: run ./dev test, which sets it`);
  return process.env[name];
}

/** Waits until `look` gives something true; then gives it. */
async function eventually(what, look) {
  const deadline = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < deadline, `${what}: did not come about in ${patience} ms`);
    await pause(100);
  }
}

async function json(path, at = origin) {
  const response = await fetch(at + path);
  assert.equal(response.status, 200, `GET ${path}`);
  return response.json();
}

before(async () => {
  pictures = setting('QUELL_E2E_OUT');
  mkdirSync(pictures, { recursive: true });
  let said = '';
  quell = spawn(setting('QUELL'), ['demo', '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [quell.stdout, quell.stderr]) stream.on('data', (text) => { said += text; });
  origin = await eventually('the demo prints its address', () => {
    assert.equal(quell.exitCode, null, `the demo ended; it said:\n${said}`);
    return said.match(/http:\/\/127\.0\.0\.1:\d+/)?.[0];
  });
  let last = '', since = Date.now();
  await eventually('the storm is over: nothing has changed for three seconds', async () => {
    const list = await fetch(`${origin}/api/v1/incidents?state=all&limit=1000`).then((r) => r.text(), () => '');
    if (list !== last) [last, since] = [list, Date.now()];
    return list.includes('"INC-') && Date.now() - since > 3_000;
  });
  const taken = await fetch(`${origin}/api/v1/history`, {
    method: 'POST', headers: { 'content-type': 'text/csv' }, body: history(),
  });
  assert.equal(taken.status, 200, await taken.text());
  browser = await chromium.launch({
    executablePath: setting('QUELL_CHROMIUM'),
    args: ['--no-sandbox', '--disable-quic', '--disable-background-networking', '--disable-component-update',
      '--disable-dev-shm-usage', '--disable-sync', '--no-first-run'],
  });
}, { timeout: 3 * patience });

after(async () => {
  await browser?.close();
  if (quell && quell.exitCode === null) {
    const ended = once(quell, 'exit', { signal: AbortSignal.timeout(10_000) });
    quell.kill();
    await ended.catch(() => quell.kill('SIGKILL'));
  }
});

/** Half a year of another system's incidents: four CIs that fail every few days, and six that seldom do. */
function history() {
  const [lines, day] = [['opened_at,ci,closed_at'], 86_400_000];
  for (let ci = 0; ci < 10; ci += 1) {
    const every = ci < 4 ? 3 + ci : 40 + ci;
    for (let ago = 180 - ci; ago > 0.1; ago -= every * (0.8 + 0.4 * ((ci * 7 + Math.ceil(ago) * 13) % 10) / 10)) {
      const opened = Date.now() - ago * day;
      const closed = new Date(opened + (10 + ci * 5 + Math.ceil(ago) % 20) * 60_000);
      lines.push(`${new Date(opened).toISOString()},imported-${ci},${closed.toISOString()}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

async function post(path, body, at = origin) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(at + path, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.equal(response.status, 202, `POST ${path}: ${await response.clone().text()}`);
  return response.json();
}

/** Starts quell with two shards in a folder of its own, calls `act(origin)` and stops it. */
async function withTwoShards(act) {
  const folder = mkdtempSync(join(tmpdir(), 'quell-e2e-'));
  const config = join(folder, 'quell.yaml');
  writeFileSync(config, 'shards: {label: region, count: 2}\n');
  const words = ['serve', '--listen', '127.0.0.1:0', '--data-dir', join(folder, 'data'), '--config', config];
  const two = spawn(setting('QUELL'), words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [two.stdout, two.stderr]) stream.on('data', (text) => { said += text; });
  try {
    await act(await eventually('quell prints its address', () => {
      assert.equal(two.exitCode, null, `quell ended; it said:\n${said}`);
      return said.match(/listening on (http:\/\/127\.0\.0\.1:\d+)/)?.[1];
    }));
  } finally {
    if (two.exitCode === null) {
      const ended = once(two, 'exit');
      two.kill();
      await ended;
    }
    rmSync(folder, { recursive: true });
  }
}

/** Opens `path` and calls `act(page)`; afterwards nothing may have gone wrong in the page. */
async function visit(path, options, act, at = origin) {
  const context = await browser.newContext(options);
  const faults = [];
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    page.on('console', (message) => {
      if (message.type() === 'error') faults.push(`console: ${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => faults.push(`script: ${error}`));
    page.on('request', (request) => {
      const url = new URL(request.url());
      if (url.protocol !== 'data:' && url.origin !== at) faults.push(`request to ${url.href}`);
    });
    page.on('dialog', (dialog) => { faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    await page.exposeFunction('policyBroken', (text) => faults.push(`content policy: ${text}`));
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        window.policyBroken(`${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    const response = await page.goto(at + path);
    assert.equal(response.status(), 200, path);
    assert.match(response.headers()['content-security-policy'] ?? '', /default-src/);
    await act(page);
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
  }
}

/** The form on an incident's page that posts to one of its commands. */
function form(page, command) {
  return page.locator(`form[action$="/${command}"]`).first();
}

/** Fills the form in, sends it and waits for the page that answers: what comes next must not meet a page half left. */
async function submit(page, command, fields) {
  const wanted = form(page, command);
  for (const [names, value] of fields) {
    const field = wanted.locator(names.map((name) => `[name="${name}"]:not([type="hidden"])`).join(', ')).first();
    await field.fill(value);
  }
  const loaded = page.waitForEvent('load');
  await wanted.locator('button, input[type="submit"]').first().click();
  await loaded;
}

async function firstOpen() {
  const [incident] = (await json('/api/v1/incidents?state=open&limit=1')).items;
  return incident.id;
}

async function timelineSays(id, text) {
  return eventually(`the timeline of ${id} says ${text}`, async () => {
    const { timeline } = await json(`/api/v1/incidents/${id}`);
    return timeline.some((entry) => JSON.stringify(entry).includes(JSON.stringify(text).slice(1, -1)));
  });
}

test('the list names open incidents and leads to each', async () => {
  const id = await firstOpen();
  await visit('/', {}, async (page) => {
    assert.equal(await page.locator('h1').count(), 1);
    await page.locator(`a[href$="/incidents/${id}"]`).first().click();
    await page.waitForURL(`**/incidents/${id}`);
    assert.equal(await page.locator('h1').count(), 1);
    const { title } = await json(`/api/v1/incidents/${id}`);
    assert.ok((await page.locator('body').innerText()).includes(title), `the page says ${title}`);
  });
});

test('an incident is acknowledged through the form', async () => {
  const id = await firstOpen();
  await visit(`/incidents/${id}`, {}, async (page) => {
    assert.ok(!(await page.locator('body').innerText()).includes('Ana Browser'));
    await submit(page, 'ack', [[['by'], 'Ana Browser']]);
    await timelineSays(id, 'Ana Browser');
    await page.reload();
    assert.ok((await page.locator('body').innerText()).includes('Ana Browser'), 'the page says who has it');
  });
});

test('a comment is text, whatever it says', async () => {
  const id = await firstOpen();
  await visit(`/incidents/${id}`, {}, async (page) => {
    await submit(page, 'comment', [[['text', 'note'], attack]]);
    await timelineSays(id, attack);
    await page.reload();
    await page.getByText(attack).first().waitFor();
    assert.equal(await page.locator('img[src="x"]').count(), 0);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  });
});

test('everything is read and done without scripts', async () => {
  const id = await firstOpen();
  const words = 'written without scripts';
  await visit('/', { javaScriptEnabled: false }, async (page) => {
    await page.locator(`a[href$="/incidents/${id}"]`).first().click();
    await page.waitForURL(`**/incidents/${id}`);
    await submit(page, 'comment', [[['text', 'note'], words]]);
    await page.getByText(words).first().waitFor();
    assert.equal(new URL(page.url()).pathname, `/incidents/${id}`, 'the form leads back to the incident');
  });
});

test('alerts are ticked and split off, merged back, and that is taken back', async () => {
  const id = await firstOpen();
  let other;
  await visit(`/incidents/${id}`, {}, async (page) => {
    await page.mouse.move(5, 5);
    const ticks = page.locator('input[name="alerts"]');
    const [tick] = await ticks.evaluateAll((all) => all.map((it) => it.getBoundingClientRect().width));
    assert.ok(tick < 30, `a box to tick is ${tick} px wide`);
    await ticks.nth(0).check();
    await ticks.nth(1).check();
    await submit(page, 'split', [[['by'], 'Ana Browser']]);
    other = await eventually(`an incident is split off ${id}`, async () => (await json(`/api/v1/incidents/${id}`)).split[0]);
    assert.equal((await json(`/api/v1/incidents/${other}`)).alerts.length, 2);
  });
  await visit(`/incidents/${other}`, {}, async (page) => {
    await page.locator('summary', { hasText: 'The same trouble as another?' }).click();
    await submit(page, 'merge', [[['into'], id]]);
    await eventually(`${other} is merged`, async () => (await json(`/api/v1/incidents/${other}`)).merged_into === id);
  });
  await visit(`/incidents/${id}`, {}, async (page) => {
    await submit(page, 'undo', []);
    await eventually(`${other} is back`, async () => (await json(`/api/v1/incidents/${other}`)).merged_into === null);
  });
});

test('hygiene is reached by keyboard and lists what should be put right', async () => {
  const told = await json('/api/v1/hygiene');
  await visit('/', {}, async (page) => {
    const link = page.getByRole('link', { name: 'Hygiene' });
    for (let presses = 0; presses < 10 && !(await link.evaluate((it) => it === document.activeElement)); presses += 1) {
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Enter');
    await page.waitForURL('**/hygiene');
    const words = await page.locator('main').innerText();
    for (const line of [
      `Alerts bound to no CI: ${told.unbound_alerts}`,
      `CIs that nobody answers for: ${told.ownerless.total}`,
      `Stale relationships: ${told.stale_relationships.total}`,
    ]) assert.ok(words.includes(line), `the page says ${line}`);
  });
});

test('a trouble is made a problem, and its page shows what stands behind it', async () => {
  if ((await json('/api/v1/signatures')).items.length === 0) {
    const [incident] = (await json('/api/v1/incidents?state=open&limit=1000')).items.slice(-1);
    await post(`/api/v1/incidents/${incident.id}/resolve`, { by: 'Ana Browser' });
  }
  const signature = await eventually('an incident is over', async () => (await json('/api/v1/signatures')).items[0]?.id);
  await post(`/api/v1/signatures/${signature}/draft`, { by: 'Ana Browser' });
  problem = await eventually('it is drafted', async () => (await json('/api/v1/problems')).items[0]?.id);
  await visit(`/problems/${problem}`, {}, async (page) => {
    await submit(page, 'comment', [[['by'], 'Ana Browser'], [['text'], 'it comes back']]);
    assert.equal(new URL(page.url()).pathname, `/problems/${problem}`, 'the form leads back');
    await page.getByText('it comes back').first().waitFor();
    const rows = page.locator('section[aria-labelledby="what-if"] tbody tr');
    const { what_if: told } = await json(`/api/v1/problems/${problem}/evidence`);
    assert.equal(await rows.count(), told.items.length);
    await page.getByText('Another trouble, or the same as another?').click();
    await page.locator('form[action*="/signatures/"] [name="into"]').waitFor();
  });
});

test('forecasts are listed by CI, with their curve and their reason', async () => {
  await eventually('there are forecasts', async () => (await json('/api/v1/forecasts?subject=ci')).items.length > 0);
  await visit('/forecasts', {}, async (page) => {
    await page.getByRole('link', { name: 'by CI, 7 d' }).click();
    await page.waitForURL('**/forecasts?subject=ci&horizon=7d');
    const { items } = await json('/api/v1/forecasts?subject=ci&horizon=7d');
    const words = await page.locator('main').innerText();
    assert.ok(words.includes(items[0].name) && /min \(\d+ to \d+\)/.test(words), words);
    if (items[0].reason) assert.ok(words.includes(items[0].reason), `the page says ${items[0].reason}`);
  });
});

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 390]) {
    test(`the pages are sound and accessible: ${colorScheme}, ${width} px`, async () => {
      const id = await firstOpen();
      for (const [name, path] of [
        ['list', '/'], ['incident', `/incidents/${id}`], ['hygiene', '/hygiene'], ['problems', '/problems'],
        ['problem', `/problems/${problem}`], ['forecasts', '/forecasts?subject=ci&horizon=7d'],
      ]) {
        await visit(path, { colorScheme, viewport: { width, height: 900 } }, async (page) => {
          // A page with the mouse over it never changes by itself.
          await page.mouse.move(width / 2, 450);
          await page.screenshot({ path: `${pictures}/${name}-${colorScheme}-${width}.png`, fullPage: true });
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
          assert.ok(wide <= 0, `${path} is ${wide} px wider than the window`);
          await page.evaluate(axe);
          const { violations } = await page.evaluate(() => window.axe.run());
          const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
          const told = bad.map(({ id: rule, help, nodes }) => `${rule}: ${help}: ${nodes.map(({ html }) => html).join(' | ')}`);
          assert.deepEqual(told, []);
        });
      }
    });
  }
}

test('two shards are one list, and every incident says its region', async () => {
  await withTwoShards(async (at) => {
    // us-1 is of the first shard, eu-1 of the second one.
    for (const region of ['us-1', 'eu-1']) {
      const labels = { alertname: `Down in ${region}`, instance: 'db-1', region };
      const headers = { 'content-type': 'application/json' };
      const taken = await fetch(`${at}/api/v2/alerts`, { method: 'POST', headers, body: JSON.stringify([{ labels }]) });
      assert.equal(taken.status, 200, await taken.text());
    }
    const ids = await eventually('both are decided', async () => {
      const all = (await json('/api/v1/incidents', at)).items.map((incident) => incident.id);
      return all.length === 2 && all;
    });
    assert.deepEqual([...ids].sort(), ['INC-1', 'INC-1.1']);
    await visit('/?limit=1', { javaScriptEnabled: false }, async (page) => {
      assert.equal(await page.locator(`a[href$="/incidents/${ids[0]}"]`).count(), 1);
      await page.getByRole('link', { name: 'Older incidents' }).click();
      await page.locator(`a[href$="/incidents/${ids[1]}"]`).waitFor();
      assert.equal(await page.locator(`a[href$="/incidents/${ids[0]}"]`).count(), 0, 'what was seen is not shown again');
    }, at);
    await visit('/', {}, async (page) => {
      const regions = await page.locator('td[data-label="region"]').allInnerTexts();
      assert.deepEqual(regions.map((text) => text.trim()).sort(), ['eu-1', 'us-1']);
      await page.locator('#live.on').waitFor();
      await post('/api/v1/incidents/INC-1.1/ack', { by: 'Ana Live' }, at);
      await eventually('the page hears of the second shard', async () => {
        const text = await page.locator('body').innerText();
        return text.includes('Ana Live') || text.includes('1 change');
      });
    }, at);
    await visit('/incidents/INC-1', {}, async (page) => {
      await submit(page, 'ack', [[['by'], 'Ana Browser']]);
      assert.ok((await page.locator('body').innerText()).includes('Ana Browser'), 'the page says who has it');
    }, at);
  });
}, { timeout: 3 * patience });
