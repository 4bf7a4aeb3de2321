/** The page's words in both languages. */
export const WORDS = {
  en: {
    other: "中文",
    units: "units", located: "located", rate: "reports/s", age: "age p50 / p99",
    hint: "Click: the ten nearest units. Drag, wheel, arrows, + and −: move. Filled: fresh. Hollow: stale, an old place.",
    nearest: "Nearest to", left: "Left out:", asof: "as of",
    head: ["unit", "kind", "distance", "bearing", "fix age", "contact", "accuracy", "source"],
    unknown: "unknown", stale: "stale", nobody: "Nobody who can be sent is there.",
    lost: (s) => `No answer from the server. What you see is ${s} s old and no longer moves.`,
    alarms: {
      journal_low: "The server's disk is nearly full: make room before the journal refuses reports.",
      journal_full: "The journal has no room: reports are refused, and what you see grows old. Make room on the server's disk.",
      journal_failed: "The journal has failed: what comes in is NOT STORED and not acknowledged. Mend the server's disk and restart it.",
      clock_set_back: "The server's clock was set back. Muster goes on with its own; check the machine's time service.",
    },
    kinds: { car: "car", motorcycle: "motorcycle", armed_car: "armed car", foot: "on foot", helicopter: "helicopter", drone: "drone", community: "community", boat: "boat", post: "post", video_post: "video post", unknown: "unknown" },
    reasons: { out_of_contact: "out of contact", covert: "covert", kind: "not police, or in the air", status: "busy or off duty", capability: "lacks a capability", organisation: "of another organisation", max_age: "too old", stale: "stale" },
  },
  zh: {
    other: "English",
    units: "单位", located: "已定位", rate: "报告/秒", age: "位置时效 p50 / p99",
    hint: "点击：最近的十个单位。拖动、滚轮、方向键、+ 和 −：移动地图。实心：最新。空心：位置已过时。",
    nearest: "最近警力", left: "未列入：", asof: "截至",
    head: ["单位", "类别", "距离", "方位", "位置时效", "通联", "精度", "来源"],
    unknown: "未知", stale: "过时", nobody: "附近没有可派警力。",
    lost: (s) => `服务器无应答。所见为 ${s} 秒前的位置，已不再更新。`,
    alarms: {
      journal_low: "服务器磁盘空间即将用尽：请尽快清理，否则上报将被拒收。",
      journal_full: "日志空间已满：上报被拒收，所见位置将逐渐过时。请清理服务器磁盘。",
      journal_failed: "日志写入失败：新到位置未存储、未应答。请修复服务器磁盘后重启。",
      clock_set_back: "服务器时钟被回拨。系统按自身时钟继续运行，请检查授时服务。",
    },
    kinds: { car: "巡逻警车", motorcycle: "摩托车", armed_car: "武装突击车", foot: "步巡", helicopter: "直升机", drone: "无人机", community: "群防群治", boat: "船艇", post: "执勤点", video_post: "视频点", unknown: "未知" },
    reasons: { out_of_contact: "失联", covert: "隐蔽", kind: "非警力或空中", status: "忙碌或下勤", capability: "能力不符", organisation: "其他单位", max_age: "过旧", stale: "过时" },
  },
};
