//! What a program has to say that knows a token: plain text with the fields of ntfy (<https://docs.ntfy.sh/publish/>), or the JSON of ntfy,
//! Alertmanager, Uptime Kuma, Home Assistant, Grafana, and whoever sends `{"text": ...}`.

use super::answer::Status;
use super::json::Json;
use super::percent;
use super::request::{BadRequest, Request};

/// The longest content of a request, in bytes.
pub const CONTENT_BYTES: usize = 16 * 1024;
/// The longest text that is said, in bytes. What is longer is cut, and says so: half of an alarm is better than none.
pub const TEXT_BYTES: usize = 4096;
/// What stands where a text was cut.
const CUT: &str = "\n[cut: it was longer]";
/// What stands before one that is urgent.
const URGENT: &str = "Attention: ";
/// Members of an object that are its text, the first that is there: of ntfy, Home Assistant and Grafana; of Slack; of Uptime Kuma.
const TEXTS: [&str; 4] = ["message", "text", "body", "msg"];
/// What is understood.
const UNDERSTOOD: &str = "this JSON is not understood. Plain text is, and JSON of ntfy, Alertmanager, Uptime Kuma, Grafana and Home Assistant; \
                          or any with one of these: {\"message\": \"...\"}, {\"text\": \"...\"}, {\"body\": \"...\"}";

/// What is said with it: its parts, each empty if it was not told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Notification {
    /// Above the text.
    pub title: String,
    /// The text.
    pub text: String,
    /// Somebody should look now.
    pub is_urgent: bool,
    /// Words that say what it is about.
    pub tags: Vec<String>,
    /// A URL that has more of it.
    pub click: String,
}

const fn bad(why: &'static str) -> BadRequest {
    BadRequest(Status::BadRequest, why)
}

impl Notification {
    /// By a request and its content. What the content says in JSON goes before what fields say, and these before the query.
    ///
    /// # Errors
    /// When nothing is said, or it is not understood.
    pub fn read(request: &Request, content: &[u8]) -> Result<Notification, BadRequest> {
        let content = std::str::from_utf8(content).map_err(|_| bad("what is to be said is not UTF-8"))?;
        let mut said = Notification {
            title: told(request, &["x-title", "title", "ti", "t"]),
            is_urgent: is_urgent(&told(request, &["x-priority", "priority", "prio", "p"])),
            tags: words(&told(request, &["x-tags", "tags", "tag", "ta"])),
            click: told(request, &["x-click", "click"]),
            text: String::new(),
        };
        let is_json = has_json(request);
        match Json::read(content) {
            Ok(json) if is_json || matches!(json, Json::Object(_)) => said.take(&json)?,
            Err(_) if is_json => return Err(bad("the content is no JSON, or has too much in it")),
            _ => content.clone_into(&mut said.text),
        }
        if said.text.trim().is_empty() {
            said.text = told(request, &["x-message", "message", "m"]);
        }
        match said.text.trim().is_empty() && said.title.trim().is_empty() {
            true => Err(bad("nothing is said: the text is the content of the request, as in curl -d \"disk full\"")),
            false => Ok(said),
        }
    }

    /// Takes what an object says.
    fn take(&mut self, json: &Json<'_>) -> Result<(), BadRequest> {
        let text = TEXTS.iter().find_map(|name| json.text_of(name)).map(str::to_owned);
        self.text = text.or_else(|| alerts(json)).ok_or(bad(UNDERSTOOD))?;
        if let Some(title) = json.text_of("title") {
            title.clone_into(&mut self.title);
        }
        if let Some(click) = json.text_of("click") {
            click.clone_into(&mut self.click);
        }
        match json.get("priority") {
            Some(Json::Number(priority) | Json::Word(priority)) => self.is_urgent = is_urgent(priority),
            Some(Json::Text(priority)) => self.is_urgent = is_urgent(priority),
            _ => {}
        }
        match json.get("tags") {
            Some(Json::Text(tags)) => self.tags = words(tags),
            Some(list) => self.tags = list.items().iter().filter_map(Json::text).map(str::to_owned).collect(),
            None => {}
        }
        Ok(())
    }

    /// All of it as one text, of at most [`TEXT_BYTES`].
    pub fn said(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(
            [self.title.trim(), self.text.trim()].into_iter().filter(|line| !line.is_empty()).map(str::to_owned),
        );
        if !self.tags.is_empty() {
            lines.push(format!("({})", self.tags.join(", ")));
        }
        lines.extend(Some(self.click.trim()).filter(|click| !click.is_empty()).map(str::to_owned));
        let urgent = if self.is_urgent { URGENT } else { "" };
        let mut said = format!("{urgent}{}", lines.join("\n")).replace("\r\n", "\n");
        if said.len() > TEXT_BYTES {
            said.truncate(said.floor_char_boundary(TEXT_BYTES - CUT.len()));
            said.push_str(CUT);
        }
        said
    }
}

/// Whether a request says that its content is JSON (RFC 8259 §11, RFC 6839 §3.1).
fn has_json(request: &Request) -> bool {
    let ty = request.field("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
    let ty = ty.trim().to_ascii_lowercase();
    ty == "application/json" || ty.ends_with("+json")
}

/// What a field says that has one of these names, or a parameter of the query (WHATWG URL §5.1).
fn told(request: &Request, names: &[&str]) -> String {
    let field = names.iter().find_map(|name| request.field(name)).map(str::to_owned);
    let parameter = || {
        let pairs = request.query.as_deref()?.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(name, _)| names.iter().any(|known| name.eq_ignore_ascii_case(known)));
        values.find_map(|(_, value)| percent::decoded(&value.replace('+', " ")))
    };
    field.or_else(parameter).unwrap_or_default()
}

/// The priorities of ntfy are 1 to 5 (<https://docs.ntfy.sh/publish/#message-priority>).
fn is_urgent(priority: &str) -> bool {
    let priority = priority.trim().to_ascii_lowercase();
    priority.parse::<u64>().map_or(matches!(&*priority, "high" | "urgent" | "max"), |number| number >= 4)
}

fn words(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The alerts of an Alertmanager (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>), one after the other.
fn alerts(json: &Json<'_>) -> Option<String> {
    let Json::List(alerts) = json.get("alerts")? else { return None };
    let mut lines: Vec<String> = alerts.iter().map(alert).collect();
    if let Some(Json::Number(more)) = json.get("truncatedAlerts").filter(|more| **more != Json::Number("0")) {
        lines.push(format!("and {more} more"));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// `FIRING: DiskFull: what it is`, more of that, and what it is about.
fn alert(alert: &Json<'_>) -> String {
    let status = alert.text_of("status").unwrap_or("alert").to_uppercase();
    let labels = match alert.get("labels") {
        Some(Json::Object(labels)) => labels.as_slice(),
        _ => &[],
    };
    let label = |(name, value): &(_, Json<'_>)| Some((AsRef::<str>::as_ref(name).to_owned(), value.text()?.to_owned()));
    let (names, others): (Vec<_>, Vec<_>) =
        labels.iter().filter_map(label).partition(|(name, _): &(String, String)| name == "alertname");
    let notes = ["summary", "description", "message"].map(|name| alert.get("annotations")?.text_of(name));
    let mut head = vec![status];
    head.extend(names.into_iter().map(|(_, name)| name));
    let mut notes = notes.into_iter().flatten();
    head.extend(notes.next().map(str::to_owned));
    let mut lines = vec![head.join(": ")];
    lines.extend(notes.map(str::to_owned));
    if !others.is_empty() {
        let others: Vec<String> = others.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.push(others.join(", "));
    }
    lines.join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(query: &str, fields: &str, content: impl AsRef<[u8]>) -> Result<Notification, BadRequest> {
        let head = format!("POST /notify/x{query} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        Notification::read(&Request::read(head.as_bytes()).unwrap().unwrap().0, content.as_ref())
    }

    fn said(fields: &str, content: &str) -> String {
        read("", fields, content).unwrap().said()
    }

    const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
    const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

    /// `curl -d` says that it is a form.
    #[test]
    fn plain_text_is_said_as_it_is() {
        assert_eq!(said(FORM, "disk full"), "disk full");
        assert_eq!(said(FORM, "a=1&b=%20+ü"), "a=1&b=%20+ü");
        assert_eq!(said("", " two\r\nlines\n"), "two\nlines");
        assert_eq!(said("", "{disk} full"), "{disk} full", "it only begins like JSON");
        assert_eq!(said("", "[1]"), "[1]");
        assert_eq!(said("", "42"), "42");
        for nothing in ["", " \r\n\t"] {
            assert!(read("", FORM, nothing).is_err(), "{nothing:?}");
        }
        assert!(read("", "", b"\xff").is_err());
    }

    /// <https://docs.ntfy.sh/publish/>
    #[test]
    fn fields_of_ntfy() {
        let fields = "Title: Unauthorized access detected\r\nPriority: urgent\r\nTags: warning,skull\r\nClick: https://home.nest.com/\r\n";
        let all = "Attention: Unauthorized access detected\nRemote access to phils-laptop detected.\n(warning, skull)\n\
                   https://home.nest.com/";
        assert_eq!(said(fields, "Remote access to phils-laptop detected."), all);
        let short = "t: A\r\np: 5\r\nta: b\r\nX-Click: c:d\r\n";
        assert_eq!(said(short, "x"), "Attention: A\nx\n(b)\nc:d");
        let query = "?title=A+title&Priority=4&tags=a%2Cb&click=https%3A%2F%2Fa.example%2F%3Fb&m=not+this";
        let told = read(query, "Title: field\r\n", "x").unwrap();
        assert_eq!(told.said(), "Attention: field\nx\n(a, b)\nhttps://a.example/?b", "fields go before the query");
        assert_eq!(read("?message=all+is+in+the%20query", "", "").unwrap().said(), "all is in the query");
        assert_eq!(said("Title: only this\r\n", ""), "only this");
        for (priority, urgent) in
            [("1", false), ("3", false), ("low", false), ("u=1", false), ("4", true), ("HIGH", true)]
        {
            assert_eq!(read("", &format!("Priority: {priority}\r\n"), "x").unwrap().is_urgent, urgent, "{priority}");
        }
        assert_eq!(read("?t=%ff&t=b", "", "x").unwrap().title, "b", "what is not encoded as it should be is not there");
    }

    /// <https://docs.ntfy.sh/publish/#publish-as-json>
    #[test]
    fn json_of_ntfy() {
        let json = r#"{ "topic": "mytopic", "message": "Disk space is low at 5.1 GB", "title": "Low disk space alert",
            "tags": ["warning","cd"], "priority": 4, "attach": "https://filesrv.lan/space.jpg", "filename": "diskspace.jpg",
            "click": "https://homecamera.lan/xasds1h2xsSsa/",
            "actions": [{ "action": "view", "label": "Admin panel", "url": "https://filesrv.lan/admin" }] }"#;
        let all = "Attention: Low disk space alert\nDisk space is low at 5.1 GB\n(warning, cd)\nhttps://homecamera.lan/xasds1h2xsSsa/";
        // Also if curl says that it is a form.
        assert_eq!((said(JSON, json), said(FORM, json)), (all.to_owned(), all.to_owned()));
    }

    /// <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>
    #[test]
    fn json_of_alertmanager() {
        let json = r#"{"receiver":"room","status":"firing","alerts":[
            {"status":"firing","labels":{"alertname":"DiskFull","instance":"box:9100","severity":"critical"},
             "annotations":{"description":"/data has 2 % left","summary":"The disk is nearly full"},
             "startsAt":"2026-01-02T03:04:05.678Z","endsAt":"0001-01-01T00:00:00Z",
             "generatorURL":"http://prom:9090/graph?g0.expr=x","fingerprint":"a1b2c3"},
            {"status":"resolved","labels":{"alertname":"InstanceDown"},"annotations":{},
             "startsAt":"2026-01-02T03:00:05Z","endsAt":"2026-01-02T03:04:05Z","generatorURL":"","fingerprint":"d4"}],
            "groupLabels":{"alertname":"DiskFull"},"commonLabels":{},"commonAnnotations":{},
            "externalURL":"http://alertmanager:9093","version":"4","groupKey":"{}:{alertname=\"DiskFull\"}","truncatedAlerts":0}"#;
        let all = "FIRING: DiskFull: The disk is nearly full\n/data has 2 % left\ninstance=box:9100, severity=critical\n\
                   RESOLVED: InstanceDown";
        assert_eq!(said(JSON, json), all);
        let more = json.replace("\"truncatedAlerts\":0", "\"truncatedAlerts\":3");
        assert_eq!(said(JSON, &more), format!("{all}\nand 3 more"));
        assert_eq!(said(JSON, r#"{"alerts":[{}]}"#), "ALERT");
        assert!(read("", JSON, r#"{"alerts":[]}"#).is_err() && read("", JSON, r#"{"alerts":1}"#).is_err());
    }

    /// What Uptime Kuma 1.23 sends by a webhook of the type `application/json`, also for a test, where the first two are null.
    #[test]
    fn json_of_uptime_kuma() {
        let json = r#"{"heartbeat":{"monitorID":1,"status":0,"time":"2026-01-02 03:04:05.678","msg":"connect ECONNREFUSED 192.0.2.1:443",
            "important":true,"duration":60,"timezone":"Europe/Berlin","timezoneOffset":"+01:00","localDateTime":"2026-01-02 04:04:05"},
            "monitor":{"id":1,"name":"Router","url":"https://192.0.2.1","type":"http","interval":60,"active":true,"tags":[],"notificationIDList":{"1":true}},
            "msg":"[Router] [🔴 Down] connect ECONNREFUSED 192.0.2.1:443"}"#;
        assert_eq!(said(JSON, json), "[Router] [🔴 Down] connect ECONNREFUSED 192.0.2.1:443");
        let test = r#"{"heartbeat":null,"monitor":null,"msg":"Room Testing"}"#;
        assert_eq!(said(JSON, test), "Room Testing");
    }

    /// <https://www.home-assistant.io/integrations/notify.rest/>, with `method: POST_JSON`
    #[test]
    fn json_of_home_assistant() {
        assert_eq!(said(JSON, r#"{"message": "The door is open", "title": "Home"}"#), "Home\nThe door is open");
        assert_eq!(said(JSON, r#"{"message": "The door is open"}"#), "The door is open");
    }

    /// <https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>
    #[test]
    fn json_of_grafana() {
        let json = r#"{"receiver":"My Super Webhook","status":"firing","orgId":1,"alerts":[{"status":"firing",
            "labels":{"alertname":"High memory usage","team":"blue","zone":"us-1"},
            "annotations":{"description":"The system has high memory usage","summary":"This alert was triggered for zone us-1"},
            "startsAt":"2021-10-12T09:51:03.157076+02:00","endsAt":"0001-01-01T00:00:00Z","values":{"B":44.23943737541908,"C":1},
            "valueString":"[ metric='' labels={} value=14151.331895396988 ]"}],
            "groupLabels":{},"commonLabels":{"team":"blue"},"commonAnnotations":{},"externalURL":"https://play.grafana.org/",
            "version":"1","groupKey":"{}:{}","truncatedAlerts":0,"title":"[FIRING:1]  (High memory usage blue us-1)","state":"alerting",
            "message":"**Firing**\n\nLabels:\n - alertname = High memory usage\n"}"#;
        let all = "[FIRING:1]  (High memory usage blue us-1)\n**Firing**\n\nLabels:\n - alertname = High memory usage";
        assert_eq!(said(JSON, json), all);
    }

    #[test]
    fn any_json_with_a_text_is_understood_and_no_other() {
        for json in [r#"{"text":"a"}"#, r#"{"body":"a","x":[{}]}"#, r#"{"message":null,"text":"a"}"#] {
            assert_eq!(said(JSON, json), "a");
            assert_eq!(said("Content-Type: application/problem+json\r\n", json), "a");
        }
        assert_eq!(said(JSON, r#"{"text":"a","priority":"max","tags":"b, c","title":7}"#), "Attention: a\n(b, c)");
        assert!(!read("", "Priority: 5\r\n", r#"{"text":"a","priority":1}"#).unwrap().is_urgent, "JSON goes first");
        for json in [r#"{}"#, r#"{"message":7}"#, r#"{"say":"a"}"#] {
            assert_eq!(read("", FORM, json).unwrap_err(), bad(UNDERSTOOD), "{json}");
        }
        for json in ["[]", "\"a\"", "7"] {
            assert_eq!(read("", JSON, json).unwrap_err(), bad(UNDERSTOOD), "{json}");
        }
        assert!(read("", JSON, "{").is_err() && read("", JSON, "disk full").is_err());
        assert!(read("", JSON, r#"{"text":""}"#).is_err());
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        assert_eq!(said("", &"x".repeat(TEXT_BYTES)).len(), TEXT_BYTES);
        for long in ["x".repeat(TEXT_BYTES + 1), "ü".repeat(TEXT_BYTES), "😀".repeat(TEXT_BYTES)] {
            let said = said("", &long);
            assert!(said.ends_with(CUT) && (TEXT_BYTES - 3..=TEXT_BYTES).contains(&said.len()), "{}", said.len());
        }
    }
}
