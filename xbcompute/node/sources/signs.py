"""Signs by which a column shows what it holds: words in its name, and forms of its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xbcompute.core.grades import Grade
from xbcompute.specs.wording import Wording

Industry = Literal["biomed", "aviation"]


@dataclass(frozen=True)
class Sign:
    """What gives a column away: words in its name, a form of its values, and what is then proposed."""

    tag: str
    pi: str
    grade: Grade
    text: Wording
    name: str = "(?!)"
    form: str | None = None
    keys: tuple[tuple[str, object], ...] = ()
    industry: Industry | None = None


def _words(text: str) -> str:
    """A pattern for any of the words, each whole in a name of words and underscores; Chinese words anywhere."""
    latin = "|".join(word for word in text.split() if word.isascii())
    other = "|".join(word for word in text.split() if not word.isascii())
    parts = [rf"(?<![a-z])(?:{latin})(?![a-z])"] if latin else []
    return "|".join([*parts, *([other] if other else [])])


SIGNS = (
    Sign(
        "genetic",
        "sensitive",
        Grade.G7,
        Wording(zh="像是遗传信息", en="looks like genetic information"),
        _words(
            r"rs\d+ snps? genotypes? alleles? vcf variants? exome genome genes? brca\d? hla mutations? "
            r"基因 突变 位点 测序"
        ),
        r"[ACGT][/|][ACGT]|[ACGT]{12,}|[01.][/|][01.]",
        (("hgr", "genetic_info"),),
    ),
    Sign(
        "special_disease",
        "sensitive",
        Grade.G5S,
        Wording(zh="像是特殊病种", en="looks like a special disease"),
        _words(r"hiv aids syphilis gonorrh.* stds? 艾滋 性病 梅毒 淋病"),
        keys=(("special_disease", True), ("health_level", 5)),
    ),
    Sign(
        "identifier",
        "personal",
        Grade.G4,
        Wording(zh="像是证件或病历号码", en="looks like an identity or record number"),
        _words(
            r"id_?card nric fin passport ssn mrn patient_?id pid subject_?id employee_?(?:id|no) 身份证 护照 "
            r"病历号 住院号 工号 患者编号"
        ),
        r"[1-9]\d{16}[\dXx]|[STFGMstfgm]\d{7}[A-Za-z]",
    ),
    Sign(
        "contact",
        "personal",
        Grade.G4,
        Wording(zh="像是联系方式或住址", en="looks like a contact or an address"),
        _words(r"phone mobile tel e_?mail address 电话 手机 邮箱 地址 住址"),
        r"[^@\s]+@[^@\s]+\.[a-zA-Z]{2,}|(?:\+?86)?1[3-9]\d{9}|(?:\+65)?[689]\d{7}",
    ),
    Sign(
        "licence",
        "personal",
        Grade.G4,
        Wording(zh="像是执照或签署人", en="looks like a licence or a signature"),
        _words(r"licen[cs]e signed_?by inspector technician mechanic crew pilot 执照 签署 机务 检验员 机组"),
    ),
    Sign(
        "name",
        "personal",
        Grade.G4,
        Wording(zh="像是姓名", en="looks like a person's name"),
        _words(r"name surname first_?name last_?name full_?name 姓名 名字"),
    ),
    Sign(
        "occurrence",
        "none",
        Grade.G1,
        Wording(zh="像是安全事件或事故", en="looks like a safety occurrence or an accident"),
        _words(r"occurrences? accidents? incidents? 事故 安全事件 不安全事件"),
        industry="aviation",
    ),
    Sign(
        "position",
        "none",
        Grade.G6,
        Wording(zh="像是精确位置，可能是重要数据", en="looks like a precise position; may be important data"),
        _words(r"lat latitude lon lng longitude gps track position airport 经度 纬度 坐标 航迹 机场"),
        keys=(("important_source", "suspected"),),
        industry="aviation",
    ),
    Sign(
        "position",
        "personal",
        Grade.G4,
        Wording(zh="像是精确位置", en="looks like a precise position"),
        _words(r"lat latitude lon lng longitude gps 经度 纬度 坐标"),
    ),
    Sign(
        "health",
        "sensitive",
        Grade.G5,
        Wording(zh="像是健康信息", en="looks like health information"),
        _words(
            r"diag.* icd\d* tumou?r t?size t?grade cancer carcinoma stage blood h(?:ae)?moglobin bmi drugs? dose "
            r"treat.* trt\w* arms? therap.* hor_?th surviv.* death died dead status cens events? relapse "
            r"recurrence nodes? pnodes progrec estrec receptor menostat menopaus.* cd4.* cd8.* karno.* ecog smok.* "
            r"disease symptom.* 病 诊断 药 血 肿瘤 症 手术 治疗 复发 死亡 月经"
        ),
        keys=(("health_level", 4),),
        industry="biomed",
    ),
    Sign(
        "quasi_identifier",
        "deidentified",
        Grade.G3,
        Wording(
            zh="准标识符：与其他列合起来可能指向一人",
            en="a quasi-identifier: with other columns it may point to one person",
        ),
        _words(
            r"age sex gender birth.* dob zip post_?code ethnic.* race occupation nationality height weight 年龄 性别 "
            r"出生 邮编 民族 职业 身高 体重"
        ),
    ),
    Sign(
        "equipment",
        "none",
        Grade.G1,
        Wording(zh="像是设备或维修数值", en="looks like a value of equipment or maintenance"),
        _words(
            r"esn engine.* unit cycles? sensor\w* s\d+ setting\w* temp.* pressure vibration flight_?hours hours "
            r"removals? part_?(?:no|number) ata serial.* rul 发动机 循环 传感器 拆换 飞行小时 件号 序号"
        ),
        industry="aviation",
    ),
)
"""From what is graded highest; the first that a column shows decides between equals."""

AGE = _words("age 年龄")
"""A column of ages."""
