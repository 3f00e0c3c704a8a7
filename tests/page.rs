//! Opens the shipped report in a real browser, at several widths and in print style. Nothing is fetched, the console shows no
//! error, no element leaves its box, the deciding columns are visible, and the answer is on the first screen.
//! Needs Debian's `chromium`, or another Chromium that `AEGIS_CHROMIUM` names.
#![allow(clippy::expect_used, clippy::unwrap_used)] // Helpers of tests, which clippy takes for other code.

use crate::common;

use std::process::Command;

use serde_json::Value;

/// HTML page that loads the report in one frame per width (pixels), measures the layout, and writes its findings as JSON. The
/// last frame has the width of A4 paper without margins and applies the print style.
const LOOK: &str = r##"<!doctype html><meta charset="utf-8"><title>look</title><body><script>
const report = REPORT;
const views = [[1920, false], [1280, false], [1200, false], [390, false], [680, true]];
const found = [];
for (const [width, print] of views) {
    const frame = document.createElement("iframe");
    frame.style.cssText = `width:${width}px;height:800px;border:0`;
    frame.srcdoc = report;
    frame.onload = () => { found.push(look(frame, width, print)); if (found.length === views.length) tell(); };
    document.body.append(frame);
}
function look(frame, width, print) {
    const page = frame.contentDocument;
    const box = (element) => element.getBoundingClientRect();
    for (const rule of print ? page.styleSheets[0].cssRules : []) {
        if (rule.media) rule.media.mediaText = rule.media.mediaText.startsWith("print") ? "all" : "not all";
    }
    const outside = [];
    for (const element of page.body.querySelectorAll("*")) {
        // What scrolls may be wider inside; paper does not scroll.
        if (!print && element.closest(".wide") && !element.matches(".wide")) continue;
        const { left, right, width: wide } = box(element);
        if (wide > 0 && (left < -0.5 || right > width + 0.5)) outside.push(element.tagName);
    }
    const sparse = [];
    for (const svg of page.querySelectorAll("svg")) {
        const frame = box(svg);
        let [left, right] = [frame.right, frame.left];
        for (const part of svg.querySelectorAll("text, rect, circle, polyline")) {
            const inner = box(part);
            const inside = inner.left >= frame.left - 1 && inner.right <= frame.right + 1
                && inner.top >= frame.top - 1 && inner.bottom <= frame.bottom + 1;
            if (!inside) outside.push(`${part.tagName} ${part.textContent.trim()}`);
            [left, right] = [Math.min(left, inner.left), Math.max(right, inner.right)];
        }
        if (right - left < 0.8 * frame.width) sparse.push(svg.textContent.trim());
    }
    const figures = [...page.querySelectorAll("figure")];
    const drawn = (figure) => [...figure.querySelectorAll("svg")].filter((svg) => box(svg).width > 0);
    const fills = (figure) => drawn(figure).length === 1
        && Math.abs(box(drawn(figure)[0]).width - box(figure.parentElement).width) < 1;
    const captioned = (figure) => {
        const caption = figure.querySelector("figcaption");
        return caption && caption.textContent.trim() && box(caption).height > 0;
    };
    const anchors = [...page.querySelectorAll("nav a")].map((link) => link.getAttribute("href"));
    return {
        width,
        outside,
        sparse,
        unseen: unseen(page, width),
        scrolls: page.documentElement.scrollWidth > width,
        figures: figures.length,
        unnamed: figures.filter((figure) => !figure.getAttribute("aria-label")).length,
        uncaptioned: figures.filter((figure) => !captioned(figure)).length,
        unfilled: figures.filter((figure) => !fills(figure)).length,
        anchors: anchors.length,
        lost: anchors.filter((anchor) => !page.querySelector(anchor)),
        // What a reader meets without scrolling: question, answer, verdict and figure are all in the header.
        first: ["#question", "#answer", "header .verdict", "header figcaption"]
            .map((part) => Math.round(box(page.querySelector(part)).bottom)),
        fetched: frame.contentWindow.performance.getEntriesByType("resource").length,
    };
}
// Cells of the contrasts that decide, with the names of their columns, as far as a reader does not see them.
function unseen(page, width) {
    const decisive = ["p", "adjusted p", "holds"];
    const heads = [...page.querySelectorAll("#contrasts th")];
    const names = heads.map((head) => head.textContent);
    const scroll = page.querySelector("#contrasts .wide").getBoundingClientRect();
    const seen = (element) => {
        const range = page.createRange();
        range.selectNodeContents(element);
        const { left, right, height } = range.getBoundingClientRect();
        return height > 0 && left >= Math.max(0, scroll.left) - 0.5 && right <= Math.min(width, scroll.right) + 0.5;
    };
    const missing = [];
    const rows = [...page.querySelectorAll("#contrasts tbody tr")];
    if (rows.length === 0) missing.push("rows");
    for (const name of decisive) {
        const column = names.indexOf(name);
        const headed = column >= 0 && seen(heads[column]);
        for (const row of rows) {
            const cell = row.cells[column];
            const before = cell && page.defaultView.getComputedStyle(cell, "::before").content;
            const named = headed || before === `"${name}"` || before === "attr(data-name)" && cell.dataset.name === name;
            if (!cell || !cell.textContent.trim() || !seen(cell) || !named) missing.push(name);
        }
    }
    return missing;
}
function tell() { document.body.innerHTML = `<pre>${JSON.stringify(found)}</pre>`; }
</script></body>"##;

fn chromium() -> std::ffi::OsString {
    std::env::var_os("AEGIS_CHROMIUM").filter(|value| !value.is_empty()).unwrap_or_else(|| "chromium".into())
}

#[test]
fn the_shipped_report_stays_in_its_boxes() {
    let folder = common::folder("page");
    let report = std::fs::read_to_string(common::repository().join("experiments/study/report.html")).unwrap();
    let look = folder.join("look.html");
    // Escape `</`, so that no `</script>` within the report ends the script of the surrounding page.
    let quoted = serde_json::to_string(&report).unwrap().replace("</", "<\\/");
    std::fs::write(&look, LOOK.replace("REPORT", &quoted)).unwrap();
    let output = Command::new(chromium())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args([
            "--window-size=1400,2000",
            "--virtual-time-budget=10000",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", look.display()))
        .output()
        .expect("chromium is there: apt-get install chromium, or name one in AEGIS_CHROMIUM");
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said = dom.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (said, _) = said.unwrap_or_else(|| panic!("nothing was looked at: {dom}\n{log}"));
    let found: Vec<Value> = serde_json::from_str(said).expect("JSON");
    assert_eq!(found.len(), 5, "{said}");
    for page in &found {
        assert_eq!(
            (&page["outside"], &page["scrolls"]),
            (&Value::Array(vec![]), &Value::Bool(false)),
            "{page}"
        );
        assert_eq!((&page["unnamed"], &page["fetched"]), (&0.into(), &0.into()), "{page}");
        assert!(page["figures"].as_u64().unwrap() >= 11, "{page}");
        // The columns p, adjusted p and holds of every claim are visible at every width and in print.
        assert_eq!(page["unseen"], Value::Array(vec![]), "{page}");
        // Every figure has a visible caption and is as wide as the text; its drawing spans at least 80 % of its width.
        assert_eq!((&page["uncaptioned"], &page["unfilled"]), (&0.into(), &0.into()), "{page}");
        assert_eq!(
            (&page["sparse"], &page["lost"]),
            (&Value::Array(vec![]), &Value::Array(vec![])),
            "{page}"
        );
        assert!(page["anchors"].as_u64().unwrap() >= 15, "{page}");
        if [1200, 1280, 1920].map(Value::from).contains(&page["width"]) {
            let ends = page["first"].as_array().unwrap().iter().map(|end| end.as_u64().unwrap());
            assert!(ends.clone().all(|end| end > 0) && ends.max() <= Some(800), "{page}");
        }
    }
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
